package otlphttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const token = "t0ps3cret"

var spans = []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{Name: "GET /"}}}}}}

func newClient(t *testing.T, url string, env map[string]string) *Client {
	t.Helper()
	c, err := New(url, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop(context.Background()) })
	return c
}

func TestUpload(t *testing.T) {
	for _, tt := range []struct {
		name     string
		env      map[string]string
		header   map[string]string
		compress bool
	}{
		{name: "defaults"},
		{
			name:   "headers",
			env:    map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": " authorization = Bearer%20" + token + ", X-Tenant=a%2Cb,"},
			header: map[string]string{"Authorization": "Bearer " + token, "X-Tenant": "a,b"},
		},
		{
			name: "for traces",
			env: map[string]string{
				"OTEL_EXPORTER_OTLP_HEADERS":            "X-All=1",
				"OTEL_EXPORTER_OTLP_TRACES_HEADERS":     "X-Traces=1",
				"OTEL_EXPORTER_OTLP_COMPRESSION":        "none",
				"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
			},
			header:   map[string]string{"X-All": "", "X-Traces": "1"},
			compress: true,
		},
		{
			name:   "content type",
			env:    map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "Content-Type=text/plain"},
			header: map[string]string{"Content-Type": "application/x-protobuf"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got *http.Request
			var body []byte
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = r
				body, _ = io.ReadAll(r.Body)
			}))
			defer server.Close()
			if err := newClient(t, server.URL+"/v1/traces?tenant=acme", tt.env).UploadTraces(t.Context(), spans); err != nil {
				t.Fatal(err)
			}
			if got.Method != "POST" || got.RequestURI != "/v1/traces?tenant=acme" {
				t.Errorf("%s %s", got.Method, got.RequestURI)
			}
			for name, want := range tt.header {
				if value := got.Header.Get(name); value != want {
					t.Errorf("%s: %q, want %q", name, value, want)
				}
			}
			if compressed := got.Header.Get("Content-Encoding") == "gzip"; compressed != tt.compress {
				t.Errorf("compressed: %t", compressed)
			} else if compressed {
				body = decompress(t, body)
			}
			var sent tracepb.TracesData
			if err := proto.Unmarshal(body, &sent); err != nil || !proto.Equal(&sent, &tracepb.TracesData{ResourceSpans: spans}) {
				t.Errorf("sent %v, error %v", &sent, err)
			}
		})
	}
}

func decompress(t *testing.T, body []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return body
}

// answer is what a collector does with one attempt.
type answer struct {
	status     int
	retryAfter string
	body       string
	err        error
}

// collector gives one answer after the other, and the last one again and again.
type collector struct {
	answers  []answer
	began    time.Time
	attempts []time.Duration
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	if body, err := io.ReadAll(r.Body); err != nil || len(body) == 0 {
		return nil, errors.New("no body")
	}
	a := c.answers[min(len(c.attempts), len(c.answers)-1)]
	c.attempts = append(c.attempts, time.Since(c.began))
	if a.err != nil {
		return nil, a.err
	}
	w := httptest.NewRecorder()
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	w.WriteHeader(a.status)
	_, _ = w.WriteString(a.body)
	return w.Result(), nil
}

func TestRetries(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name     string
		answers  []answer
		attempts []time.Duration // at which an attempt has to come, if they are fixed
		min, max int             // otherwise, how many come
		err      string
	}{
		{name: "success", answers: []answer{{status: 202}}, attempts: []time.Duration{0}},
		{name: "asks for delays", answers: []answer{{status: 503, retryAfter: "7"}, {status: 429, retryAfter: "3"}, {status: 200}},
			attempts: []time.Duration{0, 7 * s, 10 * s}},
		{name: "date", answers: []answer{{status: 503, retryAfter: "Sat, 01 Jan 2000 00:00:20 GMT"}, {status: 200}},
			attempts: []time.Duration{0, 20 * s}},
		{name: "delay too long", answers: []answer{{status: 503, retryAfter: "2147483647"}}, attempts: []time.Duration{0}, err: "503"},
		{name: "date too late", answers: []answer{{status: 503, retryAfter: "Fri, 31 Dec 9999 23:59:59 GMT"}}, attempts: []time.Duration{0}, err: "503"},
		{name: "refused", answers: []answer{{status: 401, body: token}}, attempts: []time.Duration{0}, err: "the collector answered 401 Unauthorized"},
		{name: "redirect", answers: []answer{{status: 307}}, attempts: []time.Duration{0}, err: "307"},
		{name: "some rejected", answers: []answer{{status: 200, body: "\x0a\x07\x08\x03\x12\x03odd"}}, attempts: []time.Duration{0}, err: "rejected 3 spans"},
		{name: "unreadable answer", answers: []answer{{status: 200, body: "\x0a\xff{}"}}, attempts: []time.Duration{0}},
		{name: "unreachable", answers: []answer{{err: errors.New("connection refused")}}, attempts: []time.Duration{0}, err: "connection refused"},
		{name: "timeout", answers: []answer{{err: os.ErrDeadlineExceeded}, {status: 200}}, min: 2, max: 2},
		{name: "busy", answers: []answer{{status: 502}}, min: 3, max: 15, err: "502"},
		{name: "no delay", answers: []answer{{status: 504, retryAfter: "0"}}, min: 3, max: 15, err: "504"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // time begins at 2000-01-01 00:00:00 UTC
				c := newClient(t, "http://collector/?key="+token, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "X-Token=" + token})
				server := &collector{answers: tt.answers, began: time.Now()}
				c.http.Transport = server
				err := c.UploadTraces(t.Context(), spans)
				switch {
				case tt.err == "" && err != nil, tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
					t.Errorf("error %v, want %q", err, tt.err)
				case err != nil && strings.Contains(err.Error(), token):
					t.Errorf("the error shows a token: %v", err)
				}
				if tt.attempts != nil {
					tt.min, tt.max = len(tt.attempts), len(tt.attempts)
				}
				if n := len(server.attempts); n < tt.min || n > tt.max || tt.attempts != nil && !slices.Equal(server.attempts, tt.attempts) {
					t.Errorf("attempts at %v", server.attempts)
				}
				if took := time.Since(server.began); took > maxRetryTime {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// The end of the caller's time and a stopped client end an upload that waits,
// and the error still says what the collector answered.
func TestUploadEnds(t *testing.T) {
	for name, end := range map[string]func(*Client, context.CancelFunc){
		"context": func(_ *Client, cancel context.CancelFunc) { cancel() },
		"Stop":    func(c *Client, _ context.CancelFunc) { _ = c.Stop(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, "http://collector", nil)
				c.http.Transport = &collector{answers: []answer{{status: 503}}}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error)
				go func() { done <- c.UploadTraces(ctx, spans) }()
				synctest.Wait()
				began := time.Now()
				end(c, cancel)
				if err := <-done; err == nil || !strings.Contains(err.Error(), "503") {
					t.Errorf("error %v", err)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A collector can't send the headers, and the token in them, elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	if err := newClient(t, server.URL, nil).UploadTraces(t.Context(), spans); err == nil {
		t.Error("no error")
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	root := writePEM(t, "CERTIFICATE", server.Certificate().Raw)
	cert, key := clientCertificate(t)
	for name, tt := range map[string]struct {
		env map[string]string
		ok  bool
	}{
		"unknown root":          {map[string]string{"CLIENT_CERTIFICATE": cert, "CLIENT_KEY": key}, false},
		"no client certificate": {map[string]string{"CERTIFICATE": root}, false},
		"both":                  {map[string]string{"CERTIFICATE": root, "CLIENT_CERTIFICATE": cert, "CLIENT_KEY": key}, true},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{}
			for name, value := range tt.env {
				env["OTEL_EXPORTER_OTLP_"+name] = value
			}
			if err := newClient(t, server.URL, env).UploadTraces(t.Context(), spans); (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func clientCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", pkcs8)
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWrongSettings(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ variable, value string }{
		{"OTEL_EXPORTER_OTLP_HEADERS", token},
		{"OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer " + token + "="},
		{"OTEL_EXPORTER_OTLP_HEADERS", "=" + token},
		{"OTEL_EXPORTER_OTLP_HEADERS", "X=1,X-Token=" + token + "%"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "X-Token=" + token + "%0a"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s"},
		{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", empty},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", empty + ".missing"},
	} {
		_, err := New("http://collector", func(name string) string {
			if name == tt.variable {
				return tt.value
			}
			return ""
		})
		if err == nil || !strings.HasPrefix(err.Error(), tt.variable+": ") || strings.Contains(err.Error(), token) {
			t.Errorf("%s=%s: error %v", tt.variable, tt.value, err)
		}
	}
}

func TestTimeout(t *testing.T) {
	c := newClient(t, "http://collector", map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "1500"})
	if c.http.Timeout != 1500*time.Millisecond {
		t.Errorf("timeout %v", c.http.Timeout)
	}
	if c := newClient(t, "http://collector", nil); c.http.Timeout != defaultTimeout {
		t.Errorf("default timeout %v", c.http.Timeout)
	}
}
