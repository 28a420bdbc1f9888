package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// manyConnections is the number of idle connections to open, if the system allows
// this process so many.
const manyConnections = 10_000

// attackers is the number of concurrent attackers.
const attackers = 16

// flood is a server under attack, with an honest client. The server's timeouts are
// so long that nothing times out while it is counted.
type flood struct {
	*server
	conns []net.Conn
	turn  int
}

// TestFlood attacks one server in several ways, one after the other, and
// checks each time that its memory stays within a bound and that an honest
// client's writes and reads work, over new connections.
func TestFlood(t *testing.T) {
	long(t, "attacks take minutes")
	program := unraced(t)
	startFlood := func(t *testing.T, args ...string) *flood {
		t.Helper()
		return startFlood(t, program, args...)
	}
	t.Run("idle connections", func(t *testing.T) {
		// All ten thousand may stay open.
		f := startFlood(t, "--max-connections", "20000", "--max-connections-per-address", "20000")
		n := f.connections()
		base := f.memory()
		f.openIdle(n)
		eventually(t, "server that has all connections", func() bool { return f.metric("fluxkeep_http_connections") >= float64(n) })
		f.honest()
		f.bounded(base, 40<<10*float64(n))
	})
	t.Run("more connections than allowed", func(t *testing.T) {
		f := startFlood(t, "--max-connections", "1000")
		n := f.connections()
		base := f.memory()
		for range 10 {
			f.openIdle(n / 10)
			f.honest()
		}
		if open := f.metric("fluxkeep_http_connections"); open > 1000 {
			t.Errorf("%.0f connections are open", open)
		}
		f.bounded(base, 1000*40<<10)
	})
	t.Run("slow bodies", func(t *testing.T) {
		// Each declares 8 MiB, 4 GiB in total.
		f := startFlood(t)
		base := f.memory()
		for i := range 500 {
			text := fmt.Sprintf("PATCH /api/v2/orgs/%s/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\nContent-Length: %d\r\n\r\n{", f.orgID, f.token, 8<<20)
			if i%2 == 1 {
				text = fmt.Sprintf("POST /v1/secret/data/%s HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n{", f.orgID, f.token, 8<<20)
			}
			f.open(text)
		}
		eventually(t, "server that reads all bodies", func() bool { return f.metric("fluxkeep_http_requests_in_flight") >= 500 })
		f.honest()
		f.bounded(base, 500*256<<10)
	})
	t.Run("half-open connections", func(t *testing.T) {
		f := startFlood(t)
		base := f.memory()
		for i := range 1000 {
			c := f.open([]string{"", "GET /", "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"}[i%3])
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		// The server can drop them at any time.
		eventually(t, "end of the half-open connections", func() bool { return f.metric("fluxkeep_http_connections") < 50 })
		f.honest()
		f.bounded(base, 1000*40<<10)
	})
	t.Run("long headers", func(t *testing.T) {
		f := startFlood(t)
		base := f.memory()
		f.attack(80, func() error {
			for _, header := range []string{
				"X-Long: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
				strings.Repeat("X-Many: x\r\n", 100_000) + "\r\n",
				strings.Repeat("X-Endless", 1<<17), // not a header line
			} {
				if err := f.refused("GET /api/v2/me HTTP/1.1\r\nHost: x\r\n", header); err != nil {
					return err
				}
			}
			return nil
		})
		f.bounded(base, 64<<20)
	})
	t.Run("long bodies", func(t *testing.T) {
		f := startFlood(t)
		base := f.memory()
		bomb := packed(t, 1<<30)
		long := bytes.Repeat([]byte(" "), 9<<20)
		f.attack(48, func() error {
			for _, path := range []string{"/api/v2/orgs/" + f.orgID + "/secrets", "/v1/secret/data/" + f.orgID, "/api/v2/setup", "/v1/auth/approle/login"} {
				if err := f.tooLarge(path, long, ""); err != nil {
					return err
				}
				if err := f.tooLarge(path, bomb, "gzip"); err != nil {
					return err
				}
			}
			return nil
		})
		f.bounded(base, attackers*32<<20)
	})
	t.Run("bad sign-ins", func(t *testing.T) {
		f := startFlood(t)
		base := f.memory()
		limited := 0
		var mu sync.Mutex
		f.attack(2000, func() error {
			q, err := http.NewRequestWithContext(t.Context(), "POST", f.url+"/api/v2/signin", nil)
			if err != nil {
				return err
			}
			q.SetBasicAuth(randomWord(), randomWord()) // a new user each time
			r, err := http.DefaultClient.Do(q)
			if err != nil {
				return err
			}
			defer r.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			switch r.StatusCode {
			case http.StatusTooManyRequests:
				limited++
			case http.StatusUnauthorized:
			default:
				return fmt.Errorf("a bad sign-in is answered %d", r.StatusCode)
			}
			return nil
		})
		if limited < 1000 {
			t.Errorf("%d of 2000 bad sign-ins were refused by the limit", limited)
		}
		f.bounded(base, 64<<20)
	})
}

func startFlood(t *testing.T, program string, args ...string) *flood {
	t.Helper()
	f := &flood{server: startProgram(t, program, anyAddress, append(args, "--read-header-timeout", "10m", "--read-timeout", "10m", "--idle-timeout", "10m", "--log-level", "info")...)}
	f.setUp()
	t.Cleanup(f.hangUp) // before the server ends
	f.honest()
	return f
}

func (f *flood) hangUp() {
	for _, c := range f.conns {
		_ = c.Close() // the server has closed many of them
	}
	f.conns = nil
}

// connections returns how many connections this process can open.
func (f *flood) connections() int {
	f.t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		f.t.Fatal(err)
	}
	n := min(manyConnections, int(limit.Max)-1000) // Go raises the soft limit to Max
	if n < manyConnections {
		f.t.Logf("%d connections instead of %d: the system allows %d files", n, manyConnections, limit.Max)
	}
	if n < 100 {
		f.t.Skipf("the system allows only %d open files", limit.Max)
	}
	return n
}

// open connects and sends text.
func (f *flood) open(text string) net.Conn {
	f.t.Helper()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", f.address())
	if err != nil {
		f.t.Fatalf("connection %d: %v", len(f.conns), err)
	}
	f.conns = append(f.conns, c)
	if _, err := io.WriteString(c, text); err != nil {
		f.t.Fatalf("connection %d: %v", len(f.conns), err)
	}
	return c
}

// openIdle opens connections on which nothing, a whole request, or part of a header
// is sent.
func (f *flood) openIdle(n int) {
	f.t.Helper()
	for i := range n {
		f.open([]string{"", "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", "GET /ping HTTP/1.1\r\nHost: x\r\nX-Slow: ", "G"}[i%4])
	}
}

// honest writes and reads over new connections during the attack.
func (f *flood) honest() {
	f.t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := client.New(client.Config{URL: f.url, Token: f.token, HTTPClient: &http.Client{Transport: transport, Timeout: 2 * time.Minute}})
	if err != nil {
		f.t.Fatal(err)
	}
	for range 5 {
		f.turn++
		name, value := f.secretName("HONEST"), f.private(strconv.Itoa(f.turn))
		if _, err := c.WriteValues(f.t.Context(), f.orgID, map[string]*string{name: &value}, nil); err != nil {
			f.t.Fatalf("an honest write: %v", err)
		}
		v, _, err := c.Values(f.t.Context(), f.orgID, nil)
		if err != nil || v.Secrets[name] != value {
			f.t.Fatalf("an honest read: %v, %v", v.Secrets[name] == value, err)
		}
		transport.CloseIdleConnections()
	}
}

// attack calls do many times, several at once, while an honest client is served.
func (f *flood) attack(times int, do func() error) {
	f.t.Helper()
	work := make(chan struct{})
	var group sync.WaitGroup
	failed := make(chan error, attackers)
	for range attackers {
		group.Go(func() {
			for range work {
				if err := do(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	go func() {
		group.Wait()
		close(failed)
	}()
	for i := range times {
		if i%(times/4) == 0 {
			f.honest()
		}
		select {
		case work <- struct{}{}:
		case err := <-failed:
			close(work)
			f.t.Fatal(err)
		}
	}
	close(work)
	for err := range failed {
		f.t.Error(err)
	}
	f.honest()
}

// refused sends a header and reads until the server closes the connection.
func (f *flood) refused(start, header string) error {
	c, err := net.Dial("tcp", f.address())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	// The server stops reading before everything is sent.
	_, _ = io.WriteString(c, start)
	_, _ = io.WriteString(c, header)
	answer, err := io.ReadAll(c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return fmt.Errorf("a header of %d bytes does not end the connection", len(header))
	}
	if text := string(answer); text != "" && !strings.HasPrefix(text, "HTTP/1.1 431") {
		return fmt.Errorf("a header of %d bytes is answered %q", len(header), text)
	}
	return nil
}

// tooLarge sends a body that must be refused, without declaring its length.
func (f *flood) tooLarge(path string, body []byte, encoding string) error {
	method := http.MethodPost
	if strings.HasSuffix(path, "/secrets") {
		method = http.MethodPatch
	}
	q, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Encoding", encoding)
	if !strings.Contains(path, "/setup") && !strings.Contains(path, "/login") {
		q.Header.Set("X-Vault-Token", f.token)
		q.Header.Set("Authorization", "Token "+f.token)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		// The server answers and closes while the body is still being sent.
		return nil
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusRequestEntityTooLarge {
		return fmt.Errorf("%s %s with %d bytes (%s) is answered %d", method, path, len(body), encoding, r.StatusCode)
	}
	return nil
}

// packed returns the given number of zeros, compressed.
func packed(t testing.TB, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.CopyN(z, zeros{}, n); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// metric returns one of the server's metrics, or 0 if there is no such metric.
func (f *flood) metric(name string) float64 {
	f.t.Helper()
	status, answer, err := f.do("GET", "/metrics", "", nil)
	if err != nil || status != http.StatusOK {
		f.t.Fatalf("metrics: %d, %v", status, err)
	}
	for line := range strings.Lines(string(answer)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				f.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// memory returns the memory of the server's process.
func (f *flood) memory() float64 {
	f.t.Helper()
	return f.metric("process_resident_memory_bytes")
}

// bounded checks how much the server's memory has grown. Where the system doesn't
// report it, the size of the heap is checked.
func (f *flood) bounded(base, growth float64) {
	f.t.Helper()
	now := f.memory()
	if now == 0 {
		f.t.Log("this system doesn't report a process's memory: checking the size of the heap")
		now, base = f.metric("go_memstats_heap_inuse_bytes"), 0
	}
	const mib = 1 << 20
	slack := 128.0 * mib // garbage not yet collected
	f.t.Logf("memory: %.0f MiB, %.0f MiB before, and %.0f MiB more is the bound", now/mib, base/mib, (growth+slack)/mib)
	if now > base+growth+slack {
		f.t.Errorf("the server's memory has grown from %.0f MiB to %.0f MiB", base/mib, now/mib)
	}
}
