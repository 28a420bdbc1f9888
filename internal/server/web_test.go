package server

import (
	"net/http/httptest"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/prometheus/client_golang/prometheus"
)

// TestWebPage: browsers get the page, programs get the API's answers as before, and
// --web=off serves no page at all.
func TestWebPage(t *testing.T) {
	w := newWorld(t)
	off := config.New()
	off.Web = config.WebOff
	without, err := newHandler(off, w.Keep, w.handler.logger, influxv2.Config{}, nil)
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
