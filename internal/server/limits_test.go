package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// closed checks that the server ends a connection, and returns what it has sent
// before. It waits no longer than most limits are that a server has by default.
func closed(t *testing.T, c net.Conn) string {
	t.Helper()
	const limit = 30 * time.Second
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatalf("the connection is still open after %v", limit)
	}
	return string(b)
}

func TestSlowHeader(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--read-header-timeout=200ms")
	for _, text := range []string{"", "GET /health HTTP/1.1\r\n", "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "} {
		closed(t, slowRequest(t, ts.Addr().String(), text))
	}
}

func TestIdle(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--idle-timeout=200ms")
	c := slowRequest(t, ts.Addr().String(), "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := closed(t, c); !strings.HasPrefix(got, "HTTP/1.1 204") {
		t.Errorf("answered %q", got)
	}
}

func TestSlowBody(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--read-timeout=1s")
	ts.setUp(t)
	c := slowRequest(t, ts.Addr().String(), fmt.Sprintf(
		"PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\nContent-Length: 100\r\n\r\n{", ts.secrets(), ts.token))
	got := closed(t, c)
	if strings.HasPrefix(got, "HTTP/1.1 2") {
		t.Errorf("answered %q", got)
	}
}

// A body that has all its time is taken, also when it comes in parts.
func TestBodyInParts(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"))
	ts.setUp(t)
	c := slowRequest(t, ts.Addr().String(), fmt.Sprintf(
		"PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\nContent-Length: 9\r\n\r\n{\"a\"", ts.secrets(), ts.token))
	time.Sleep(20 * time.Millisecond)
	if _, err := io.WriteString(c, `:"b"}`); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 204 {
		t.Errorf("answered %v, %v", res, err)
	}
}

// A request may wait longer than any of its parts may take.
func TestWaitingIsNotSlow(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--read-timeout=1s", "--write-timeout=1s", "--read-header-timeout=1s")
	ts.setUp(t)
	ts.putSecret(t, "a", "b")
	tag := ts.do(t, "GET", ts.secrets()+"/values", "").header.Get("ETag")
	if a := ts.do(t, "GET", ts.secrets()+"/values?wait=3s", "", "If-None-Match", tag); a.status != http.StatusNotModified {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// A client that does not take its answer does not hold a connection for ever.
func TestSlowReader(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--write-timeout=1s")
	ts.setUp(t)
	for i := range 24 {
		ts.putSecret(t, fmt.Sprint("n", i), strings.Repeat("x", 1<<20))
	}
	c := slowRequest(t, ts.Addr().String(), fmt.Sprintf("GET %s/values HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\n\r\n", ts.secrets(), ts.token))
	eventually(t, "a request in flight", func() bool { return ts.handler.inFlight.Load() == 1 })
	eventually(t, "the end of it", func() bool { return ts.handler.inFlight.Load() == 0 })
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return // it was cut off before its beginning arrived
	}
	if n, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Errorf("all %d bytes arrived", n)
	}
}

func TestLargeHeader(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"))
	if a := ts.do(t, "GET", "/health", "", "X-Large", strings.Repeat("x", 60<<10)); a.status != 200 {
		t.Errorf("60 KiB: %d", a.status)
	}
	// The connection may end before the client has sent all, and so sees no answer.
	if a, err := ts.try("GET", "/health", "", "X-Large", strings.Repeat("x", 80<<10)); err == nil && a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("80 KiB: %d", a.status)
	}
	// The longest name, every byte of it escaped.
	ts.setUp(t)
	if a := ts.do(t, "DELETE", ts.secrets()+"/"+strings.Repeat("%41", 1024), ""); a.status != 204 {
		t.Errorf("the longest name: %d %s", a.status, a.body)
	}
}

// answered reports whether a connection gets an answer.
func answered(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := http.ReadResponse(bufio.NewReader(c), nil)
	return err == nil
}

const ping = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"

// busy opens a connection with a request whose body lacks its last byte, a
// brace.
func (ts *testServer) busy(t *testing.T) net.Conn {
	t.Helper()
	before := ts.handler.inFlight.Load()
	c := slowRequest(t, ts.Addr().String(), "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
	eventually(t, "a request in flight", func() bool { return ts.handler.inFlight.Load() == before+1 })
	return c
}

// Above the limit, connections wait while all others are busy.
func TestConnectionLimit(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--max-connections=2", "--read-timeout=5m")
	first, second := ts.busy(t), ts.busy(t)
	third := slowRequest(t, ts.Addr().String(), ping)
	eventually(t, "a connection that waits", func() bool { return ts.listener.full.Load() == 1 })
	if n := ts.listener.open.Load(); n != 2 {
		t.Errorf("%d connections are open", n)
	}
	if _, err := io.WriteString(first, "}"); err != nil {
		t.Fatal(err)
	}
	if !answered(t, first) {
		t.Error("the first connection is not answered")
	}
	// Now it is idle, and the third has its slot.
	if !answered(t, third) {
		t.Error("the third connection is not answered when the first is idle")
	}
	if got := closed(t, first); got != "" {
		t.Errorf("the first connection gets %q", got)
	}
	if !strings.Contains(ts.log.String(), "limit of connections is reached") {
		t.Errorf("that a connection waited is not logged: %s", ts.log)
	}
	if n := ts.listener.dropped.Load(); n != 1 {
		t.Errorf("%d connections were dropped", n)
	}
	second.Close()
	third.Close()
	eventually(t, "all connections closed", func() bool { return ts.listener.open.Load() == 0 })
}

// Those who open connections and leave them keep nobody out: the one that has
// been idle longest is closed for the next one.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	f := newCertificateFiles(t)
	for name, args := range map[string][]string{"plain": nil, "TLS": {"--tls-cert=" + f.cert, "--tls-key=" + f.key}} {
		t.Run(name, func(t *testing.T) {
			ts := start(t, filepath.Join(t.TempDir(), "data"), append(args, "--max-connections=8", "--read-header-timeout=5m", "--idle-timeout=5m")...)
			if name == "TLS" {
				ts.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
			}
			for i := range 50 {
				// They stay open until the test ends. To net/http a request
				// begins when its header is there.
				text := ""
				if name == "plain" && i%2 == 0 {
					text = "GET /health HTTP/1.1\r\nX-Slow: "
				}
				slowRequest(t, ts.Addr().String(), text)
				// With many that wait to be accepted, the client's own could
				// be the one that has been idle longest.
				eventually(t, "a connection that is accepted", func() bool {
					return ts.listener.open.Load()+ts.listener.dropped.Load() > int64(i)
				})
				if a, err := ts.try("GET", "/ping", ""); err != nil || a.status != 204 {
					t.Fatalf("after %d connections: %d, %v", i, a.status, err)
				}
				if name == "plain" { // each time with a new connection
					ts.client.CloseIdleConnections()
				}
			}
			if n := ts.listener.dropped.Load(); n < 20 {
				t.Errorf("%d connections were dropped", n)
			}
		})
	}
}

// Waiting for a slot does not keep the server from ending.
func TestConnectionLimitEnd(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--max-connections=1", "--read-timeout=5m")
	ts.busy(t)
	slowRequest(t, ts.Addr().String(), ping)
	eventually(t, "the limit", func() bool { return ts.listener.full.Load() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the busy one is cut off
	if err := ts.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// The limiter answers in the form of each protocol, on a real server.
func TestRateLimitForms(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--rate-limit=0.001")
	for range 10 {
		ts.do(t, "GET", "/api/v2/setup", "")
	}
	a := ts.do(t, "GET", "/api/v2/setup", "")
	if a.status != 429 || a.header.Get("X-Platform-Error-Code") != "too many requests" || a.header.Get("Retry-After") == "" ||
		!strings.Contains(a.body, `"code": "too many requests"`) {
		t.Errorf("InfluxDB's: %d %v %s", a.status, a.header, a.body)
	}
	a = ts.do(t, "GET", "/v1/sys/health", "")
	if a.status != 429 || a.header.Get("Retry-After") == "" || !strings.HasPrefix(a.body, `{"errors":["`) {
		t.Errorf("Vault's: %d %v %s", a.status, a.header, a.body)
	}
	if a := ts.do(t, "GET", "/health", ""); a.status != 200 {
		t.Errorf("/health: %d", a.status)
	}
}
