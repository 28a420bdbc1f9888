package vaultkv_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/vaultkv"
)

// TestStrayedInfluxd checks that an influxd whose VAULT_ADDR lacks /influxd
// causes one warning, and that other clients cause none.
func TestStrayedInfluxd(t *testing.T) {
	s := newServer(t, nil)
	var log bytes.Buffer
	s.Handler = vaultkv.New(s.Kit.Keep, vaultkv.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	strict := "/v1/secret/data/" + s.Org.String()
	for _, c := range []struct{ method, target, body string }{
		{"PUT", s.influxd("data"), body(t, map[string]string{"a": "canary-1"}, 0)},
		{"PUT", "/v1/secret/data/acme", body(t, map[string]string{"a": "canary-2"}, 1)}, // a name
		{"POST", strict, body(t, map[string]string{"a": "canary-3"}, 2)},                // vault's own method
		{"PUT", strict, `{"data":{"a":"canary-4"}}`},                                    // no check-and-set
	} {
		s.op(t, c.method, c.target, c.body).want(t, 200)
	}
	if log.Len() > 0 {
		t.Errorf("warned of other clients: %s", log.String())
	}
	for cas := range 2 {
		s.op(t, "PUT", strict, body(t, map[string]string{"a": "canary-5"}, 4+cas)).want(t, 200)
	}
	if got := log.String(); strings.Count(got, "add /influxd to its VAULT_ADDR") != 1 || strings.Contains(got, "canary") {
		t.Errorf("logged %q", got)
	}
}
