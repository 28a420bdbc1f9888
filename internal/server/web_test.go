package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/prometheus/client_golang/prometheus"
)

// TestOwnHost: without TLS, a server that listens only on loopback accepts no name of
// another site for its page, nor a setup by another site's page.
func TestOwnHost(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		bound, origin, host, from string // from: the page that sends the setup, "" for a program
		tls                       bool
		page, setup               int
	}{
		{"127.0.0.1:8086", "", "evil.example:8086", "http://evil.example:8086", false, 403, 403},
		{"127.0.0.1:8086", "", "evil.example:8086", "", false, 403, 422}, // InfluxDB's clients send any host
		{"127.0.0.1:8086", "", "localhost.evil.example", "http://localhost.evil.example", false, 403, 403},
		{"127.0.0.1:8086", "", "127.0.0.1.evil.example", "http://127.0.0.1.evil.example", false, 403, 403},
		{"127.0.0.1:8086", "", "", "", false, 403, 422},
		{"[::1]:8086", "", "evil.example", "http://evil.example", false, 403, 403},
		{"127.0.0.1:8086", "", "localhost:8086", "http://localhost:8086", false, 200, 422},
		{"127.0.0.1:8086", "", "LOCALHOST.", "http://LOCALHOST.", false, 200, 422},
		{"127.0.0.1:8086", "", "keep.localhost:8086", "http://keep.localhost:8086", false, 200, 422},
		{"127.0.0.1:8086", "", "127.0.0.1:8086", "http://127.0.0.1:8086", false, 200, 422},
		{"127.0.0.1:8086", "", "[::1]:8086", "http://[::1]:8086", false, 200, 422},
		{"127.0.0.1:8086", "", "localhost:8086", "http://evil.example", false, 200, 403},
		{"127.0.0.1:8086", "", "localhost:8086", "null", false, 200, 403}, // such as a sandboxed frame
		{"127.0.0.1:8086", "https://keep.example:8443", "keep.example", "https://keep.example", false, 200, 422},
		{"127.0.0.1:8086", "https://keep.example", "127.0.0.1:8086", "https://keep.example", false, 200, 422}, // a proxy changes Host
		{"127.0.0.1:8086", "https://keep.example", "evil.example", "http://evil.example", false, 403, 403},
		{"127.0.0.1:8086", "", "keep.example", "https://keep.example", true, 200, 422},
		{"[::]:8086", "", "keep.example:8086", "http://keep.example:8086", false, 200, 422},
		{"0.0.0.0:8086", "", "keep", "http://keep", false, 200, 422},
		{"0.0.0.0:8086", "", "keep.example", "http://evil.example", false, 200, 403},
	} {
		c := config.New()
		c.WebOrigin = tt.origin
		h, err := newHandler(c, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.bound)), w.Keep, w.handler.logger, influxv2.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method, path, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			if r.Host = tt.host; tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if method == http.MethodPost && tt.from != "" {
				r.Header.Set("Origin", tt.from)
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			return rec
		}
		page := ask("GET", "/ui/sign-in", "")
		if named := strings.Contains(page.Body.String(), "--web-origin"); page.Code != tt.page || named != (page.Code == 403) {
			t.Errorf("%+v: the page answers %d", tt, page.Code)
		}
		setup := ask("POST", "/api/v2/setup", `{"username":"mallory","password":"battery staple","org":"evil","bucket":"b"}`)
		if setup.Code != tt.setup {
			t.Errorf("%+v: setup answers %d: %s", tt, setup.Code, setup.Body)
		}
	}
}

// TestOwnHostOfNames: the names that resolve to loopback count as its addresses do.
func TestOwnHostOfNames(t *testing.T) {
	for _, name := range []string{"localhost", "LocalHost", "localhost.", "ip6-localhost"} {
		l, err := net.Listen("tcp", net.JoinHostPort(name, "0"))
		if err != nil {
			t.Logf("this machine doesn't know %s: %v", name, err)
			continue
		}
		l.Close()
		s := start(t, t.TempDir(), "--http-bind-address", net.JoinHostPort(name, "0"))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/ui/sign-in", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "evil.example"
		answer, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden {
			t.Errorf("a server at %s answers another site's name with %d", name, answer.StatusCode)
		}
	}
}

// TestWebPage: browsers get the page, programs get the API's answers as before, and
// --web=off serves no page at all.
func TestWebPage(t *testing.T) {
	w := newWorld(t)
	off := config.New()
	off.Web = config.WebOff
	without, err := newHandler(off, &net.TCPAddr{}, w.Keep, w.handler.logger, influxv2.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	without.metrics = metricsHandler(prometheus.NewRegistry())
	for _, c := range []struct {
		path, accept   string
		with, without  int
		kind, location string
	}{
		{"/", "text/html,*/*;q=0.8", 303, 404, "text/html; charset=utf-8", "/ui/"},
		{"/", "*/*", 404, 404, "application/json; charset=utf-8", ""},
		{"/ui", "text/html", 303, 404, "text/html; charset=utf-8", "/ui/sign-in"},
		{"/ui/sign-in", "", 200, 404, "text/html; charset=utf-8", ""},
		{"/health", "text/html", 200, 200, "application/json; charset=utf-8", ""},
		{"/api/v2/orgs", "text/html", 401, 401, "application/json; charset=utf-8", ""},
	} {
		r := httptest.NewRequest("GET", c.path, nil)
		r.Header.Set("Accept", c.accept)
		got := w.ask(r)
		if got.Code != c.with || got.Header().Get("Content-Type") != c.kind || got.Header().Get("Location") != c.location {
			t.Errorf("%s, Accept %q: %d %s %s", c.path, c.accept, got.Code, got.Header().Get("Content-Type"), got.Header().Get("Location"))
		}
		rec := httptest.NewRecorder()
		without.ServeHTTP(rec, r)
		if rec.Code != c.without {
			t.Errorf("%s, Accept %q, without the page: %d", c.path, c.accept, rec.Code)
		}
	}
}
