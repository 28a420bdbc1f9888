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

// closed checks that the server closes a connection, and returns what it sent before.
// It waits less than the server's default timeouts.
func closed(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatalf("the connection is still open after %v", patience)
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

// A body that arrives in time, even in parts, is accepted.
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

// A waiting request may take longer than reading or writing it may.
func TestWaitingIsNotSlow(t *testing.T) {
	t.Parallel()
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--read-timeout=5s", "--write-timeout=5s", "--read-header-timeout=5s")
	ts.setUp(t)
	ts.putSecret(t, "a", "b")
	tag := ts.do(t, "GET", ts.secrets()+"/values", "").header.Get("ETag")
	if a := ts.do(t, "GET", ts.secrets()+"/values?wait=7s", "", "If-None-Match", tag); a.status != http.StatusNotModified {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// A client that doesn't read its answer can't keep a connection forever.
func TestSlowReader(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	before := start(t, dir)
	before.setUp(t)
	for i := range 24 {
		before.putSecret(t, fmt.Sprint("n", i), strings.Repeat("x", 1<<20))
	}
	before.stop(t)
	ts := start(t, dir, "--write-timeout=1s")
	ts.token, ts.org = before.token, before.org
	c := slowRequest(t, ts.Addr().String(), fmt.Sprintf("GET %s/values HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\n\r\n", ts.secrets(), ts.token))
	eventually(t, "a request in flight", func() bool { return ts.handler.inFlight.Load() == 1 })
	eventually(t, "the end of it", func() bool { return ts.handler.inFlight.Load() == 0 })
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return // it was closed before the start of the answer arrived
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
	// The server may close the connection before the client has sent everything, so
	// the client may not see the answer.
	if a, err := ts.try("GET", "/health", "", "X-Large", strings.Repeat("x", 80<<10)); err == nil && a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("80 KiB: %d", a.status)
	}
	// The longest name, with every byte escaped.
	ts.setUp(t)
	if a := ts.do(t, "DELETE", ts.secrets()+"/"+strings.Repeat("%41", 1024), ""); a.status != 204 {
		t.Errorf("the longest name: %d %s", a.status, a.body)
	}
}

// answered reports whether a request on the connection gets an answer.
func answered(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := http.ReadResponse(bufio.NewReader(c), nil)
	return err == nil
}

const ping = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"

// busy opens a connection and sends a request without the last byte of its body, a
// brace. The request has no credential, or the operator's token.
func (ts *testServer) busy(t *testing.T, known bool) net.Conn {
	t.Helper()
	text := "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{"
	if known {
		text = fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\nContent-Length: 2\r\n\r\n{", ts.secrets(), ts.token)
	}
	before := ts.handler.inFlight.Load()
	c := slowRequest(t, ts.Addr().String(), text)
	eventually(t, "a request in flight", func() bool { return ts.handler.inFlight.Load() == before+1 })
	eventually(t, "a connection with its rank", func() bool { return ts.listener.busy() == known })
	return c
}

// busy reports whether the newest connection is a known client's with a request in
// progress.
func (l *listener) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := range l.ranks {
		n += l.ranks[i].Len()
	}
	return n < len(l.conns)
}

// A busy known client keeps its connection, and a stranger loses it.
func TestConnectionLimit(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--max-connections=2", "--max-connections-per-address=2")
	ts.setUp(t)
	ts.client.CloseIdleConnections()
	eventually(t, "no connection", func() bool { return ts.listener.open.Load() == 0 })
	strange := ts.busy(t, false)
	known := ts.busy(t, true)
	third := slowRequest(t, ts.Addr().String(), ping)
	if !answered(t, third) {
		t.Error("the third connection is not answered")
	}
	if got := closed(t, strange); got != "" {
		t.Errorf("the stranger gets %q", got)
	}
	if _, err := io.WriteString(known, "}"); err != nil || !answered(t, known) {
		t.Errorf("the known client is not answered: %v", err)
	}
	if !strings.Contains(ts.log.String(), "limit on connections is reached") {
		t.Errorf("the limit is not logged: %s", ts.log)
	}
	if n := ts.listener.dropped.Load(); n != 1 {
		t.Errorf("%d connections were dropped", n)
	}
	known.Close()
	third.Close()
	eventually(t, "all connections closed", func() bool { return ts.listener.open.Load() == 0 })
}

// Clients that open connections without sending a whole request keep nobody out.
func TestStrangersKeepNobodyOut(t *testing.T) {
	f := newCertificateFiles(t)
	for name, args := range map[string][]string{"plain": nil, "TLS": {"--tls-cert=" + f.cert, "--tls-key=" + f.key}} {
		t.Run(name, func(t *testing.T) {
			ts := start(t, filepath.Join(t.TempDir(), "data"), append(args, "--max-connections=8", "--max-connections-per-address=8", "--read-header-timeout=5m", "--idle-timeout=5m")...)
			if name == "TLS" {
				ts.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
			}
			for i := range 50 {
				text := ""
				if name == "plain" {
					text = []string{"", "GET /health HTTP/1.1\r\nX-Slow: ", "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{"}[i%3]
				}
				slowRequest(t, ts.Addr().String(), text) // open until the test ends
				eventually(t, "a connection that is accepted", func() bool {
					return ts.listener.open.Load()+ts.listener.dropped.Load() > int64(i)
				})
				if a, err := ts.try("GET", "/ping", ""); err != nil || a.status != 204 {
					t.Fatalf("after %d connections: %d, %v", i, a.status, err)
				}
				if name == "plain" { // on a new connection each time
					ts.client.CloseIdleConnections()
				}
			}
			if n := ts.listener.dropped.Load(); n < 20 {
				t.Errorf("%d connections were dropped", n)
			}
		})
	}
}

// Waiting for a free connection doesn't delay shutdown.
func TestConnectionLimitEnd(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--max-connections=1", "--max-connections-per-address=2")
	ts.setUp(t)
	ts.client.CloseIdleConnections()
	eventually(t, "no connection", func() bool { return ts.listener.open.Load() == 0 })
	ts.busy(t, true)
	slowRequest(t, ts.Addr().String(), ping)
	eventually(t, "the limit", func() bool { return ts.listener.full.Load() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // closes the busy connection
	if err := ts.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// The limiter of a real server answers in each protocol's form.
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
	a = ts.do(t, "GET", "/v1/sys/leader", "")
	if a.status != 429 || a.header.Get("Retry-After") == "" || !strings.HasPrefix(a.body, `{"errors":["`) {
		t.Errorf("Vault's: %d %v %s", a.status, a.header, a.body)
	}
	for path, want := range map[string]int{"/health": 200, "/v1/sys/health": 501, "/v1/sys/seal-status": 200, "/influxd/v1/sys/init": 200} {
		if a := ts.do(t, "GET", path, ""); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// --health-address answers health checks and metrics, and nothing else.
func TestHealthAddress(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--health-address=127.0.0.1:0")
	for path, want := range map[string]int{"/health": 200, "/ready": 200, "/ping": 204, "/metrics": 200, "/api/v2/setup": 404, "/": 404} {
		r, err := http.Get("http://" + ts.healthListener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
		}
	}
}
