package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/otlphttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracing creates a span for each request and sends it to a collector. A nil
// tracing creates none.
type tracing struct {
	exporter sdktrace.SpanExporter
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// openTracing returns nil if no collector is configured. It doesn't connect: if the
// collector is down, only spans are lost.
func openTracing(ctx context.Context, c *config.Config, logger *slog.Logger) (*tracing, error) {
	if c.TraceEndpoint == "" {
		return nil, nil
	}
	client, err := otlphttp.New(tracesURL(c.TraceEndpoint), os.Getenv)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, client)
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
	return &tracing{exporter: exporter, provider: provider, tracer: provider.Tracer("github.com/fluxkeep/fluxkeep/internal/server")}
}

// tracesURL adds the standard path to an address without one.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return endpoint
	}
	return u.JoinPath("v1", "traces").String()
}

// start starts the span of a request, which continues the client's trace.
func (t *tracing) start(r *http.Request, from trace.SpanContext) (context.Context, trace.Span) {
	ctx := r.Context()
	if from.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
	}
	return t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
}

// end ends the span. It records only attributes that metrics have too.
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
	err := t.provider.Shutdown(ctx)
	if err != nil {
		_ = t.exporter.Shutdown(ctx) // ends an upload that the provider still waits for
	}
	return err
}

// loggedExporter logs the exporter's errors, which would otherwise go to a
// process-wide handler.
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
