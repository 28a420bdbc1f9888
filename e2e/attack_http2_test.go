package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestAttackHTTP2 floods a server over HTTP/2, where a request needs no connection
// of its own. During each flood, the server answers an honest client and its
// memory stays within a bound. Afterwards, requests hold none of the budgets.
func TestAttackHTTP2(t *testing.T) {
	long(t, "attacks take minutes")
	program := unraced(t)
	const mib = 1 << 20
	for _, attack := range []struct {
		name   string
		memory float64 // allowed growth, in addition to garbage not yet collected
		run    func(f *attacked)
	}{
		{"packed bodies at a time of a token that is switched off", 256 * mib, func(f *attacked) { f.streamBombs(f.off, 250, 250) }},
		{"packed bodies at a time of nobody", 256 * mib, func(f *attacked) { f.streamBombs("", 250, 250) }},
		{"packed bodies at a time of a tenant", 768 * mib, func(f *attacked) { f.streamBombs(f.tenant, 250, 250) }},
		{"packed bodies in a row of a token that is switched off", 256 * mib, func(f *attacked) { f.streamBombs(f.off, 4000, 60) }},
		{"packed bodies in a row of nobody", 256 * mib, func(f *attacked) { f.streamBombs("", 4000, 60) }},
		{"resets by nobody", 256 * mib, func(f *attacked) { f.resets("", 10_000) }},
		{"resets by a tenant", 512 * mib, func(f *attacked) {
			f.large(8 * mib)
			f.resets(f.tenant, 10_000)
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			f := startAttacked(t, program, serverCertificate(t)...)
			base := f.endure(attack.memory, func() {
				attack.run(f)
				f.settle()
			})
			f.hangUp()
			eventually(t, "release of the memory that requests held", func() bool { return f.metric("fluxkeep_http_request_memory_bytes") == 0 })
			f.bounded(base, attack.memory)
		})
	}
}

// settle waits until the server has decompressed the bodies: until its memory has
// not grown for two seconds.
func (f *attacked) settle() {
	f.t.Helper()
	for peak, unchanged := f.memory(), 0; unchanged < 20; unchanged++ {
		f.healthy()
		time.Sleep(100 * time.Millisecond)
		if now := f.memory(); now > peak {
			peak, unchanged = now, 0
		}
	}
}

// streamBombs sends compressed bodies without their last byte, on one connection
// for as long as the server keeps it open, with the given number of streams at a
// time.
func (f *attacked) streamBombs(token string, streams, open int) {
	bomb := packed(f.t, 8<<20-100)
	f.multiplex(streams, func(c *multiplexed, i int) bool {
		method, path := "PATCH", "/api/v2/orgs/"+f.orgID+"/secrets"
		if i%2 == 1 {
			method, path = "POST", "/v1/secret/data/"+f.orgID
		}
		if !c.takeWindow(len(bomb) - 1) {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.request(method, path, token, "content-encoding", "gzip") || c.framer.WriteData(c.stream, false, bomb[:len(bomb)-1]) != nil {
			return false
		}
		c.open = append(c.open, c.stream)
		if len(c.open) > open {
			first := c.open[0]
			c.open = c.open[1:]
			return c.framer.WriteRSTStream(first, http2.ErrCodeCancel) == nil
		}
		return true
	})
}

// resets sends requests and cancels each at once.
func (f *attacked) resets(token string, streams int) {
	f.multiplex(streams, func(c *multiplexed, i int) bool {
		method, path := "GET", "/api/v2/orgs/"+f.orgID+"/secrets/values"
		switch i % 3 {
		case 1:
			path = "/v1/secret/data/" + f.orgID
		case 2:
			method, path = "POST", "/api/v2/setup"
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.request(method, path, token) && c.framer.WriteRSTStream(c.stream, http2.ErrCodeCancel) == nil
	})
}

// multiplex sends the given number of requests over one connection, and over a new
// one when the server closes it. The last one stays open.
func (f *attacked) multiplex(streams int, send func(c *multiplexed, i int) bool) {
	f.t.Helper()
	connections := 0
	var c *multiplexed
	for i := 0; i < streams; i++ {
		if c == nil {
			if connections++; connections > streams/10 {
				f.t.Logf("the server has closed %d connections, after %d of %d requests", connections-1, i, streams)
				return
			}
			if c = f.dialHTTP2(); c == nil {
				continue
			}
		}
		ok := send(c, i)
		select {
		case <-c.ended:
			ok = false
		default:
		}
		if !ok {
			_ = c.conn.Close() // already closed by the server
			c = nil
		}
	}
	f.t.Logf("%d requests were sent over %d connections", streams, connections)
}

// multiplexed is an attacker's connection, which follows HTTP/2's rules only where
// that helps the attack.
type multiplexed struct {
	conn    net.Conn
	window  chan int // granted by the server
	ended   chan struct{}
	granted int

	mu      sync.Mutex // guards the fields below and writing
	framer  *http2.Framer
	header  bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32
	open    []uint32
}

func (f *attacked) dialHTTP2() *multiplexed {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Minute}, Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	conn, err := d.DialContext(f.t.Context(), "tcp", f.attackAddress)
	if err != nil {
		return nil // the server refuses the attacker's connection
	}
	f.conns = append(f.conns, conn)
	c := &multiplexed{conn: conn, window: make(chan int, 1<<16), ended: make(chan struct{}), granted: 65_535, framer: http2.NewFramer(conn, conn)}
	c.encoder = hpack.NewEncoder(&c.header)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil || c.framer.WriteSettings() != nil || c.framer.WriteWindowUpdate(0, 1<<30) != nil {
		return nil
	}
	go c.read()
	return c
}

// read acknowledges settings and pings, and notes the window, until the server
// is about to close the connection.
func (c *multiplexed) read() {
	defer close(c.ended)
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		c.mu.Lock()
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = c.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = c.framer.WritePing(true, frame.Data)
			}
		case *http2.GoAwayFrame:
			err = net.ErrClosed
		case *http2.WindowUpdateFrame:
			if frame.StreamID == 0 {
				select {
				case c.window <- int(frame.Increment):
				default:
				}
			}
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// takeWindow waits until the server accepts the given number of bytes. After some
// time, they are sent anyway.
func (c *multiplexed) takeWindow(n int) bool {
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	for c.granted < n {
		select {
		case more := <-c.window:
			c.granted += more
		case <-c.ended:
			return false
		case <-patience.C:
			return true
		}
	}
	c.granted -= n
	return true
}

// request opens the next stream. The caller holds mu.
func (c *multiplexed) request(method, path, token string, headers ...string) bool {
	c.header.Reset()
	fields := slices.Concat([]string{":method", method, ":scheme", "https", ":authority", "x", ":path", path}, headers)
	if token != "" {
		fields = append(fields, "authorization", "Token "+token, "x-vault-token", token)
	}
	for i := 0; i < len(fields); i += 2 {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return false
		}
	}
	if c.stream == 0 {
		c.stream = 1
	} else {
		c.stream += 2
	}
	return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.header.Bytes(), EndHeaders: true}) == nil
}

// serverCertificate makes a certificate, and returns the flags to use it.
func serverCertificate(t testing.TB) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"keep.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var flags []string
	for _, file := range []struct {
		flag, kind string
		bytes      []byte
	}{{"--tls-cert", "CERTIFICATE", cert}, {"--tls-key", "PRIVATE KEY", private}} {
		path := filepath.Join(dir, file.flag[2:]+".pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, file.flag, path)
	}
	return flags
}

// relayTLS lets clients without TLS reach a server with TLS, and returns the
// address for them.
func relayTLS(t testing.TB, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			go relay(in, to)
		}
	}()
	return l.Addr().String()
}

// relay connects a client to the server until one of them hangs up. The client
// notices failures.
func relay(in net.Conn, to string) {
	defer in.Close()
	out, err := tls.Dial("tcp", to, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	_, _ = io.Copy(in, out)
}
