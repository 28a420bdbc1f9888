package server

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func traced(t *testing.T, ratio float64, fn http.HandlerFunc) (*handler, func() tracetest.SpanStubs) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	h := newTestHandler(io.Discard, fn)
	c := config.New()
	c.TraceSampleRatio = ratio
	h.tracing = newTracing(spans, c)
	t.Cleanup(func() {
		if err := h.tracing.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h, func() tracetest.SpanStubs {
		t.Helper()
		if err := h.tracing.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return spans.GetSpans()
	}
}

// A request's span continues the client's trace, whichever header carries it.
func TestTracingJoins(t *testing.T) {
	for _, tt := range []struct{ header, value, traceID, parent string }{
		{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"},
		{"Uber-Trace-Id", "abc:def:0:1", "00000000000000000000000000000abc", "0000000000000def"},
		{"Zap-Trace-Span", `{"trace_id":"abc","span_id":"def"}`, "00000000000000000000000000000abc", "0000000000000def"},
	} {
		t.Run(tt.header, func(t *testing.T) {
			var origin httpapi.Origin
			var inside trace.SpanContext
			h, spans := traced(t, 0, func(_ http.ResponseWriter, r *http.Request) {
				origin, inside = httpapi.OriginOf(r.Context()), trace.SpanContextFromContext(r.Context())
			})
			serveOne(h, "GET", "/api/v2/things/"+secretName, tt.header, tt.value)
			got := spans()
			if len(got) != 1 {
				t.Fatalf("%d spans", len(got))
			}
			s := got[0]
			if s.SpanContext.TraceID().String() != tt.traceID || s.Parent.SpanID().String() != tt.parent || !s.Parent.IsRemote() {
				t.Errorf("span of trace %v, parent %v", s.SpanContext.TraceID(), s.Parent.SpanID())
			}
			if origin.Trace != tt.traceID || inside.SpanID() != s.SpanContext.SpanID() {
				t.Errorf("the handler sees trace %q and span %v", origin.Trace, inside.SpanID())
			}
			if s.Name != "GET /api/v2/things/{name}" || s.SpanKind != trace.SpanKindServer {
				t.Errorf("span %q, kind %v", s.Name, s.SpanKind)
			}
			for _, a := range s.Attributes {
				if strings.Contains(a.Value.String(), secretName) {
					t.Errorf("attribute %s is %s", a.Key, a.Value.String())
				}
			}
		})
	}
}

func TestTracingNew(t *testing.T) {
	var origin httpapi.Origin
	h, spans := traced(t, 1, func(w http.ResponseWriter, r *http.Request) {
		origin = httpapi.OriginOf(r.Context())
		w.WriteHeader(500)
	})
	serveOne(h, "GET", "/api/v2/things/x", "traceparent", "nonsense")
	serveOne(h, secretName, "/"+secretName)
	got := spans()
	if len(got) != 2 {
		t.Fatalf("%d spans", len(got))
	}
	if s := got[0]; s.Parent.IsValid() || origin.Trace != s.SpanContext.TraceID().String() || s.Status.Code != 1 {
		t.Errorf("span %v of parent %v, status %v; the handler saw %q", s.SpanContext, s.Parent, s.Status, origin.Trace)
	}
	if s := got[1]; s.Name != "other none" {
		t.Errorf("span %q", s.Name)
	}
}

func TestTracingNotSampled(t *testing.T) {
	h, spans := traced(t, 1, func(http.ResponseWriter, *http.Request) {})
	serveOne(h, "GET", "/api/v2/things/x", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	if got := spans(); len(got) != 0 {
		t.Errorf("%d spans though the client wants none", len(got))
	}
}

// testCollector is a collector of traces that speaks OTLP.
type testCollector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
	raw   strings.Builder
}

func newTestCollector(t *testing.T) *testCollector {
	c := new(testCollector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		var req otlp.TracesData
		if err := proto.Unmarshal(b, &req); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(b)
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// A server sends its spans to a collector, without anything confidential.
func TestTracingCollector(t *testing.T) {
	c := newTestCollector(t)
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--trace-endpoint="+c.URL)
	ts.setUp(t)
	ts.putSecret(t, secretName, secretValue)
	use(t, ts)
	ts.stop(t) // sends the remaining spans
	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[string]bool{}
	for _, s := range c.spans {
		names[s.Name] = true
	}
	for _, want := range []string{"POST /api/v2/setup", "PATCH /api/v2/orgs/{orgID}/secrets", "GET /v1/secret/data/{org...}", "GET none"} {
		if !names[want] {
			t.Errorf("no span %s in %v", want, names)
		}
	}
	checkClean(t, "the spans", c.raw.String(), ts)
}

// An unreachable collector costs a line in the log.
func TestTracingNoCollector(t *testing.T) {
	log := new(logtest.Log)
	logger, _ := NewLogger(log, config.New())
	e := &loggedExporter{SpanExporter: failingExporter{}, logger: logger}
	if err := e.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, 3)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "traces can't be sent") {
		t.Errorf("logged %s", log)
	}
}

// It doesn't delay shutdown either.
func TestTracingEndsWithoutCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--trace-endpoint=http://"+l.Addr().String())
	ts.setUp(t)
	begin := time.Now()
	ts.stop(t)
	if took := time.Since(begin); took > patience {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(ts.log.String(), "traces can't be sent") {
		t.Errorf("logged %s", ts.log)
	}
}

type failingExporter struct{}

func (failingExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("nobody is there")
}
func (failingExporter) Shutdown(context.Context) error { return nil }

func TestTracesURL(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:4318":          "http://127.0.0.1:4318/v1/traces",
		"http://127.0.0.1:4318/":         "http://127.0.0.1:4318/v1/traces",
		"https://collector/otlp/traces":  "https://collector/otlp/traces",
		"https://collector/?tenant=acme": "https://collector/v1/traces?tenant=acme",
	} {
		if got := tracesURL(endpoint); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
}
