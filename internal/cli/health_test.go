package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		prints  string
		failure string
	}{
		{"ready", 200, `{"name":"fluxkeep","status":"pass","message":"healthy"}`, "healthy\n", ""},
		{"with a warning", 200, `{"name":"fluxkeep","message":"healthy; clock: \u001b[2Jbehind"}`, "healthy; clock: ?[2Jbehind\n", ""},
		{"not ready", 503, `{"name":"fluxkeep","status":"fail","message":"no space"}`, "", "the server is not ready: no space"},
		{"InfluxDB", 200, `{"name":"influxdb","status":"pass","message":"ready for queries and writes"}`, "", "is not a Fluxkeep server (status 200)"},
		{"something else", 404, `<html>`, "", "is not a Fluxkeep server (status 404)"},
		{"elsewhere", 307, `{"name":"fluxkeep","message":"healthy"}`, "", "not ready"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/health" {
					t.Errorf("asked for %s", r.URL)
				}
				w.Header().Set("Location", "/health")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})
			plain, secured := httptest.NewServer(h), httptest.NewTLSServer(h)
			defer plain.Close()
			defer secured.Close()
			for _, args := range [][]string{
				{"--http-bind-address", plain.Listener.Addr().String()},
				{"--http-bind-address", secured.Listener.Addr().String(), "--tls-cert", "c", "--tls-key", "k"},
				{"--http-bind-address", "127.0.0.1:1", "--health-address", plain.Listener.Addr().String(), "--tls-cert", "c", "--tls-key", "k"},
			} {
				var out strings.Builder
				root := NewRootCommand()
				root.SetArgs(append([]string{"health", "--data-dir", "data"}, args...))
				root.SetOut(&out)
				err := root.ExecuteContext(t.Context())
				if out.String() != tt.prints {
					t.Errorf("%q: prints %q, want %q", args, &out, tt.prints)
				}
				if tt.failure == "" && err != nil || tt.failure != "" && (err == nil || !strings.Contains(err.Error(), tt.failure)) {
					t.Errorf("%q: error %v, want %q", args, err, tt.failure)
				}
			}
		})
	}
}

func TestLocalHealthURL(t *testing.T) {
	for _, tt := range []struct{ listens, want string }{
		{"127.0.0.1:8086", "http://127.0.0.1:8086/health"},
		{":8086", "http://127.0.0.1:8086/health"},
		{"0.0.0.0:8086", "http://127.0.0.1:8086/health"},
		{"[::]:8086", "http://[::1]:8086/health"},
		{"[fd00::1]:8086", "http://[fd00::1]:8086/health"},
		{"keep.example:8086", "http://keep.example:8086/health"},
	} {
		c := config.New()
		if err := c.Flags().Parse([]string{"--data-dir=data", "--http-bind-address=" + tt.listens}); err != nil {
			t.Fatal(err)
		}
		if err := c.Load(nil); err != nil {
			t.Fatal(err)
		}
		if got := localHealthURL(c); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.listens, got, tt.want)
		}
	}
}
