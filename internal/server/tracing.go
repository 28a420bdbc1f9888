package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracing makes a span for each request and sends it to a collector. A nil
// tracing makes none.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// openTracing returns nil when no collector is configured. It connects to
// nothing yet; a collector that is not there loses spans and nothing else.
// Credentials for it can be in OpenTelemetry's own environment variables, such
// as OTEL_EXPORTER_OTLP_HEADERS.
func openTracing(ctx context.Context, c *config.Config, logger *slog.Logger) (*tracing, error) {
	if c.TraceEndpoint == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(tracesURL(c.TraceEndpoint)))
	if err != nil {
		return nil, err
	}
	return newTracing(&loggedExporter{SpanExporter: exporter, logger: logger}, c), nil
}

func newTracing(exporter sdktrace.SpanExporter, c *config.Config) *tracing {
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.TraceSampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "fluxkeep"),
			attribute.String("service.version", c.Version),
		)),
	)
	return &tracing{provider: provider, tracer: provider.Tracer("github.com/fluxkeep/fluxkeep/internal/server")}
}

// tracesURL adds the standard's path to an address that has none.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return endpoint
	}
	return u.JoinPath("v1", "traces").String()
}

// start begins the span of a request, which continues the client's trace.
func (t *tracing) start(r *http.Request, from trace.SpanContext) (context.Context, trace.Span) {
	ctx := r.Context()
	if from.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
	}
	return t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
}

// end ends it. What it says of the request is what a metric says too.
func (t *tracing) end(span trace.Span, method, route string, status int) {
	method = methodNames[methodIndex(method)]
	span.SetName(method + " " + route)
	span.SetAttributes(
		attribute.String("http.request.method", method),
		attribute.String("http.route", route),
		attribute.Int("http.response.status_code", status),
	)
	if status >= 500 {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

func (t *tracing) close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// loggedExporter puts the exporter's failures into the server's log, where
// they would go to a handler of the whole process.
type loggedExporter struct {
	sdktrace.SpanExporter
	logger *slog.Logger
}

func (e *loggedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.logger.Warn("traces can't be sent", "spans", len(spans), "error", err)
	}
	return nil
}
