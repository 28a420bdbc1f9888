package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fakeProtocol is a protocol with one route, which the test defines.
type fakeProtocol struct {
	*httpapi.Mux
	name string
}

func newFake(name, pattern string, h http.HandlerFunc) *fakeProtocol {
	f := &fakeProtocol{name: name}
	f.Mux = httpapi.NewMux([]httpapi.Route{
		{Method: "GET", Pattern: pattern, Handler: h},
		{Method: "POST", Pattern: pattern, Handler: h},
	}, httpapi.MuxConfig{
		NotFound: func(w http.ResponseWriter, r *http.Request) { f.WriteError(w, r, keep.CodeNotFound, "not found") },
		NotAllowed: func(w http.ResponseWriter, r *http.Request) {
			f.WriteError(w, r, influxv2.CodeMethodNotAllowed, "not allowed")
		},
	})
	return f
}

func (f *fakeProtocol) WriteError(w http.ResponseWriter, _ *http.Request, code keep.Code, message string) {
	status := map[keep.Code]int{
		keep.CodeInternal: 500, keep.CodeUnavailable: 503, keep.CodeTooMany: 429, keep.CodeNotFound: 404, influxv2.CodeMethodNotAllowed: 405,
	}[code]
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s: %s: %s", f.name, code, message)
}

func newTestHandler(log io.Writer, fn http.HandlerFunc) *handler {
	c := config.New()
	c.LogLevel = -8
	logger, _ := NewLogger(log, c)
	h := &handler{
		logger: logger, ids: newRequestIDs(), readTimeout: time.Minute, writeTimeout: time.Minute, version: []string{"v2"},
		influx:  newFake("influx", "/api/v2/things/{name}", fn),
		vault:   newFake("vault", "/v1/things/{name}", fn),
		metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") }),
	}
	h.requests = newRequestMetrics(patterns(h.influx, h.vault), func() float64 { return float64(h.inFlight.Load()) })
	return h
}

func serveOne(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestHandlerOrigin(t *testing.T) {
	var got httpapi.Origin
	h := newTestHandler(io.Discard, func(_ http.ResponseWriter, r *http.Request) { got = httpapi.OriginOf(r.Context()) })
	w := serveOne(h, "GET", "/api/v2/things/x", "X-Request-Id", "made-up", "X-Forwarded-For", "203.0.113.9",
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if got.Remote != "192.0.2.1" {
		t.Errorf("remote %q", got.Remote)
	}
	if got.Trace != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("trace %q", got.Trace)
	}
	if !uuid.MatchString(got.Request) || got.Request != w.Header().Get("X-Request-Id") {
		t.Errorf("request %q, header %q", got.Request, w.Header().Get("X-Request-Id"))
	}
	first := got.Request
	serveOne(h, "GET", "/v1/things/x")
	if got.Request == first || got.Trace != "" {
		t.Errorf("the next request has ID %q and trace %q", got.Request, got.Trace)
	}
}

func TestHandlerHeaders(t *testing.T) {
	h := newTestHandler(io.Discard, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	check := func(path string, headers map[string]string) {
		t.Helper()
		got := serveOne(h, "GET", path).Header()
		for name, want := range headers {
			if got.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got.Get(name), want)
			}
		}
	}
	for _, path := range []string{"/api/v2/things/x", "/v1/things/x", "/metrics", "/nothing", "/v1/nothing"} {
		check(path, map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Influxdb-Build": "OSS", "X-Influxdb-Version": "v2",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Strict-Transport-Security": "",
		})
	}
	h.hsts = true
	check("/api/v2/things/x", map[string]string{"Strict-Transport-Security": "max-age=31536000"})
	h.influx = newFake("page", "/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Cache-Control", "private")
	})
	serveOne(h, "GET", "/page")
	check("/v1/things/x", map[string]string{"Cache-Control": "no-store"}) // a handler's headers don't appear in other answers
}

func TestHandlerCountsByRoute(t *testing.T) {
	h := newTestHandler(io.Discard, func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("name") == "bad" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	for range 3 {
		serveOne(h, "GET", "/api/v2/things/"+secretName)
	}
	serveOne(h, "GET", "/api/v2/things/"+secretName+"/") // a path that the mux normalizes
	serveOne(h, "GET", "/api/v2/things/bad")
	serveOne(h, "BREW", "/api/v2/things/"+secretName)
	serveOne(h, "POST", "/v1/things/x")
	serveOne(h, "GET", "/"+secretName)
	serveOne(h, "GET", "/v1/"+secretName)
	serveOne(h, "GET", "/metrics")
	want := `
# HELP fluxkeep_http_requests_total Requests answered, by the pattern of the route, the method and the class of the status.
# TYPE fluxkeep_http_requests_total counter
fluxkeep_http_requests_total{method="GET",route="/api/v2/things/{name}",status="2xx"} 4
fluxkeep_http_requests_total{method="GET",route="/api/v2/things/{name}",status="4xx"} 1
fluxkeep_http_requests_total{method="GET",route="/metrics",status="2xx"} 1
fluxkeep_http_requests_total{method="GET",route="none",status="4xx"} 2
fluxkeep_http_requests_total{method="POST",route="/v1/things/{name}",status="2xx"} 1
fluxkeep_http_requests_total{method="other",route="/api/v2/things/{name}",status="4xx"} 1
`
	if err := testutil.CollectAndCompare(h.requests.requests, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(h.requests.duration); n != 5 {
		t.Errorf("durations of %d routes and methods, want 5", n)
	}
}

// A panic is answered in the protocol's form, and its text reaches neither the client
// nor the log.
func TestHandlerPanic(t *testing.T) {
	for name, fault := range map[string]any{
		"text": "can't open " + secretName, "error": errors.New(secretValue), "value": struct{ s string }{secretValue},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(logtest.Log)
			h := newTestHandler(log, func(http.ResponseWriter, *http.Request) { panic(fault) })
			for path, want := range map[string]string{
				"/api/v2/things/" + secretName: "influx: internal error: an internal error has occurred",
				"/v1/things/" + secretName:     "vault: internal error: an internal error has occurred",
			} {
				w := serveOne(h, "GET", path, "Authorization", "Token "+password)
				if w.Code != 500 || w.Body.String() != want {
					t.Errorf("%s: %d %q", path, w.Code, w.Body)
				}
				if !strings.Contains(log.String(), w.Header().Get("X-Request-Id")) {
					t.Errorf("the log does not name the request: %s", log)
				}
			}
			for _, marker := range []string{secretName, secretValue, password} {
				if strings.Contains(log.String(), marker) {
					t.Errorf("the log holds %s: %s", marker, log)
				}
			}
			if !strings.Contains(log.String(), "TestHandlerPanic") {
				t.Errorf("the log does not name the function: %s", log)
			}
			if n := testutil.ToFloat64(h.requests.panics); n != 2 {
				t.Errorf("%v panics counted", n)
			}
			if n := h.inFlight.Load(); n != 0 {
				t.Errorf("%d requests in flight", n)
			}
		})
	}
	t.Run("of the runtime", func(t *testing.T) {
		log := new(logtest.Log)
		h := newTestHandler(log, func(_ http.ResponseWriter, r *http.Request) { _ = r.TLS.Version })
		serveOne(h, "GET", "/api/v2/things/x")
		if !strings.Contains(log.String(), "nil pointer dereference") {
			t.Errorf("the log does not say what happened: %s", log)
		}
	})
}

// An answer that has begun can't be replaced: the client must notice that it is
// incomplete.
func TestHandlerPanicInAnswer(t *testing.T) {
	for name, fault := range map[string]any{"panic": "oops", "abort": http.ErrAbortHandler} {
		t.Run(name, func(t *testing.T) {
			h := newTestHandler(io.Discard, func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, strings.Repeat("x", 10_000))
				panic(fault)
			})
			srv := httptest.NewServer(h)
			defer srv.Close()
			srv.Config.ErrorLog = connectionLog(slog.New(slog.DiscardHandler))
			res, err := http.Get(srv.URL + "/api/v2/things/x")
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil {
				t.Error("the client didn't notice that the answer is incomplete")
			}
		})
	}
	t.Run("abort before the answer", func(t *testing.T) {
		h := newTestHandler(io.Discard, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		srv := httptest.NewServer(h)
		defer srv.Close()
		if res, err := http.Get(srv.URL + "/api/v2/things/x"); err == nil {
			res.Body.Close()
			t.Errorf("answered %d", res.StatusCode)
		}
	})
}

func TestHandlerDraining(t *testing.T) {
	h := newTestHandler(io.Discard, func(http.ResponseWriter, *http.Request) {})
	h.draining.Store(true)
	for path, want := range map[string]string{
		"/api/v2/things/x": "influx: unavailable: the server is shutting down",
		"/v1/things/x":     "vault: unavailable: the server is shutting down",
		"/nothing":         "influx: unavailable: the server is shutting down",
	} {
		w := serveOne(h, "GET", path)
		if w.Code != 503 || w.Body.String() != want || w.Header().Get("Connection") != "close" {
			t.Errorf("%s: %d %q %v", path, w.Code, w.Body, w.Header())
		}
	}
	if w := serveOne(h, "GET", "/metrics"); w.Code != 200 {
		t.Errorf("/metrics: %d", w.Code)
	}
}

func TestHandlerRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHandler(io.Discard, func(http.ResponseWriter, *http.Request) {})
		h.limiter = newRateLimiter(0.5)
		for i := range 10 {
			if w := serveOne(h, "GET", "/api/v2/things/x"); w.Code != 200 {
				t.Fatalf("request %d: %d", i, w.Code)
			}
		}
		for path, want := range map[string]string{"/api/v2/things/x": "influx: too many requests", "/v1/things/x": "vault: too many requests"} {
			w := serveOne(h, "GET", path)
			if w.Code != 429 || !strings.HasPrefix(w.Body.String(), want) {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
			if after := w.Header().Get("Retry-After"); after != "2" {
				t.Errorf("%s: Retry-After %q, want 2", path, after)
			}
		}
		if n := testutil.ToFloat64(h.requests.limited); n != 2 {
			t.Errorf("%v refusals counted", n)
		}
		if w := serveOne(h, "GET", "/metrics"); w.Code != 200 {
			t.Errorf("/metrics: %d", w.Code)
		}
	})
}

func TestMetricsMethods(t *testing.T) {
	h := newTestHandler(io.Discard, nil)
	if w := serveOne(h, "HEAD", "/metrics"); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
	if w := serveOne(h, "POST", "/metrics"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
}

func TestRateLimiter(t *testing.T) {
	now := time.Unix(0, 0)
	l := newRateLimiter(10) // 20 at once
	use := func(remote string, n int) (refused int) {
		for range n {
			if l.wait(httpapi.Network(remote), now) > 0 {
				refused++
			}
		}
		return refused
	}
	if n := use("192.0.2.1", 25); n != 5 {
		t.Errorf("%d of 25 refused, want 5", n)
	}
	if n := use("192.0.2.2", 20); n != 0 {
		t.Errorf("%d refused of another client", n)
	}
	if n := use("::ffff:192.0.2.2", 1); n != 1 {
		t.Error("an IPv4 address in IPv6 notation counts separately")
	}
	if n := use("2001:db8::1", 20) + use("2001:db8::2", 1); n != 1 {
		t.Errorf("%d refused of one network, want 1", n)
	}
	if n := use("2001:db8:0:1::1", 1); n != 0 {
		t.Error("another network is refused")
	}
	now = now.Add(time.Second)
	if n := use("192.0.2.1", 12); n != 2 {
		t.Errorf("%d of 12 refused a second later, want 2", n)
	}
}

// The limiter's memory is bounded, and it forgets clients far from their limit first.
func TestRateLimiterBound(t *testing.T) {
	now := time.Unix(0, 0)
	l := newRateLimiter(0.001)
	for range 10 {
		l.wait("198.51.100.1", now)
	}
	addr := netip.MustParseAddr("10.0.0.0")
	for range 20 * maxLimited {
		l.wait(addr.String(), now)
		addr = addr.Next()
	}
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].clients)
	}
	if n > len(l.shards)*maxLimited {
		t.Errorf("%d addresses are remembered", n)
	}
	// An hour later, they are far from their limit and can be forgotten.
	l = newRateLimiter(0.001)
	for range 10 {
		l.wait("198.51.100.1", now)
	}
	for range 17 * maxLimited / 2 {
		l.wait(addr.String(), now)
		addr = addr.Next()
	}
	if l.wait("198.51.100.1", now) == 0 {
		t.Error("the client at its limit was forgotten although others could have been")
	}
}

func TestRemoteAddr(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, peer string
		trusted    []netip.Prefix
		forwarded  []string
		want       string
	}{
		{"direct", "192.0.2.1:1234", nil, nil, "192.0.2.1"},
		{"IPv6", "[2001:db8::1]:1234", nil, nil, "2001:db8::1"},
		{"nobody is trusted", "10.0.0.1:1234", nil, []string{"192.0.2.1"}, "10.0.0.1"},
		{"proxy", "10.0.0.1:1234", proxies, []string{"192.0.2.1"}, "192.0.2.1"},
		{"proxy in IPv6 spelling", "[::ffff:10.0.0.1]:1234", proxies, []string{"192.0.2.1"}, "192.0.2.1"},
		{"not the proxy", "192.0.2.7:1234", proxies, []string{"192.0.2.1"}, "192.0.2.7"},
		{"made up in front", "10.0.0.1:1234", proxies, []string{"203.0.113.1, 192.0.2.1"}, "192.0.2.1"},
		{"two proxies", "10.0.0.1:1234", proxies, []string{"203.0.113.1, 192.0.2.1, 10.9.9.9"}, "192.0.2.1"},
		{"two lines", "10.0.0.1:1234", proxies, []string{"203.0.113.1", "192.0.2.1", "10.9.9.9"}, "192.0.2.1"},
		{"proxies alone", "10.0.0.1:1234", proxies, []string{"10.2.2.2, 10.3.3.3"}, "10.2.2.2"},
		{"nothing", "10.0.0.1:1234", proxies, []string{""}, "10.0.0.1"},
		{"nonsense", "10.0.0.1:1234", proxies, []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{"nonsense behind a proxy", "10.0.0.1:1234", proxies, []string{"192.0.2.1, unknown, 10.3.3.3"}, "10.3.3.3"},
		{"with ports", "10.0.0.1:1234", proxies, []string{"192.0.2.1:99"}, "192.0.2.1"},
		{"IPv6 client", "[fd00::1]:1234", proxies, []string{"[2001:db8::1]:99"}, "2001:db8::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
			if got := remoteAddr(r, tt.trusted); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSecure(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-Proto": {"https"}}}
	if secure(r, nil) || !secure(r, proxies) {
		t.Error("the header of an untrusted proxy counts, or that of a trusted one doesn't")
	}
	for value, want := range map[string]bool{
		"http": false, "HTTPS": true, "https, http": true, " Https ,http": true, "http, https": false, "": false, ",https": false,
	} {
		r.Header.Set("X-Forwarded-Proto", value)
		if got := secure(r, proxies); got != want {
			t.Errorf("X-Forwarded-Proto %q: %v", value, got)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	ids := newRequestIDs()
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				id := ids.next()
				mu.Lock()
				if seen[id] || !uuid.MatchString(id) {
					t.Errorf("ID %q", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if newRequestIDs().next()[:18] == ids.next()[:18] {
		t.Error("two processes generate the same IDs")
	}
}

// This package's cost per request is bounded, since every request pays it.
func TestHandlerAllocations(t *testing.T) {
	h := newTestHandler(io.Discard, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	c := config.New()
	h.logger, _ = NewLogger(io.Discard, c)
	r := httptest.NewRequest("GET", "/api/v2/things/x", nil)
	w := &nullWriter{header: http.Header{}}
	bare := testing.AllocsPerRun(1000, func() { h.influx.ServeHTTP(w, r) })
	all := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) })
	// The exchange, the context, the request with it, the ID and its header.
	if all-bare > 5 {
		t.Errorf("%v allocations, %v without this package", all, bare)
	}
}

type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *nullWriter) WriteHeader(int)             {}

// Handlers can use the interfaces of the wrapped ResponseWriter.
func TestResponseUnwraps(t *testing.T) {
	h := newTestHandler(io.Discard, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		if err := rc.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "a")
		if err := rc.Flush(); err != nil {
			t.Error(err)
		}
	})
	srv := httptest.NewServer(h)
	defer srv.Close()
	res, err := http.Get(srv.URL + "/api/v2/things/x")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

func TestStartLog(t *testing.T) {
	out := new(logtest.Log)
	logger, level := NewLogger(out, config.New())
	held, hold := holdLog(logger)
	part := held.With("part", "store").WithGroup("g")
	held.Info("first")
	part.Info("second", "a", 1)
	held.Debug("not at this level")
	if out.String() != "" {
		t.Fatalf("logged before the start: %s", out)
	}
	hold.release()
	part.Info("third")
	level.Set(-4)
	held.Debug("fourth")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{"msg=first", "msg=second part=store g.a=1", "msg=third part=store", "msg=fourth"} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("line %d of %q, want %s", i, lines, want)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	h := newTestHandler(io.Discard, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	h.logger, _ = NewLogger(io.Discard, config.New())
	r := httptest.NewRequest("GET", "/api/v2/things/x", nil)
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.influx.ServeHTTP(&nullWriter{header: http.Header{}}, r)
		}
	})
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(&nullWriter{header: http.Header{}}, r)
		}
	})
}
