package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/vaultkv"
	"github.com/fluxkeep/fluxkeep/internal/web"
	"go.opentelemetry.io/otel/trace"
)

// protocol is a handler of one of the protocols.
type protocol interface {
	http.Handler
	Routes() []httpapi.Route
	// Pattern returns the pattern of a path's route, "" if there is none.
	Pattern(*http.Request) string
	// WriteError responds with an error in the protocol's format.
	WriteError(w http.ResponseWriter, r *http.Request, code keep.Code, message string)
}

// handler wraps the protocols and does the work that is common to all requests.
// Every request passes through it, so it allocates little and looks up everything
// it can in advance.
type handler struct {
	influx  protocol
	vault   protocol
	web     protocol // nil for none
	metrics http.Handler

	// requestContext returns the context for a request's transactions; it may be nil.
	requestContext func(context.Context) context.Context

	logger       *slog.Logger
	ids          *requestIDs
	requests     *requestMetrics
	tracing      *tracing     // nil for none
	limiter      *rateLimiter // nil for none
	trusted      []netip.Prefix
	limits       *httpapi.Limits
	readTimeout  time.Duration
	writeTimeout time.Duration
	hsts         bool
	version      []string // value of X-Influxdb-Version

	inFlight atomic.Int64
	draining atomic.Bool
}

// newHandler returns a handler for the protocols. about describes the server for
// InfluxDB's protocol; newHandler sets the fields that come from the configuration.
// info, which may be nil, describes it for the web page. bound is the server's address.
func newHandler(c *config.Config, bound net.Addr, k *keep.Keep, logger *slog.Logger, about influxv2.Config, info func() web.ServerInfo) (*handler, error) {
	about.CrossOrigin = http.NewCrossOriginProtection()
	if c.WebOrigin != "" {
		if err := about.CrossOrigin.AddTrustedOrigin(c.WebOrigin); err != nil {
			return nil, fmt.Errorf("trust --web-origin: %w", err)
		}
	}
	about.Version, about.Commit, about.Started = c.Version, c.Commit, time.Now()
	about.OwnHost = ownHost(c, bound)
	about.Secure = func(r *http.Request) bool { return secure(r, c.TrustedProxies) }
	h := &handler{
		requestContext: k.RequestContext,
		logger:         logger, ids: newRequestIDs(), trusted: c.TrustedProxies,
		readTimeout: c.ReadTimeout, writeTimeout: c.WriteTimeout, hsts: c.HSTS && c.TLSCert != "",
		version: []string{influxv2.VersionHeader(c.Version)},
		influx:  influxv2.New(k, about),
		vault:   vaultkv.New(k, vaultkv.Config{Version: c.Version, Started: about.Started, Logger: logger}),
	}
	h.limits = newLimits(c)
	if c.RateLimit > 0 {
		h.limiter = newRateLimiter(c.RateLimit)
	}
	protocols := []protocol{h.influx, h.vault}
	if c.Web != config.WebOff {
		page, err := web.New(k, web.Config{
			Version: c.Version, Origin: c.WebOrigin, Base: c.WebBase, CrossOrigin: about.CrossOrigin, OwnHost: about.OwnHost, Secure: about.Secure,
			Started: about.Started, Server: info,
		})
		if err != nil {
			return nil, err
		}
		h.web = page
		protocols = append(protocols, page)
	}
	h.requests = newRequestMetrics(patterns(protocols...), func() float64 { return float64(h.inFlight.Load()) })
	return h, nil
}

// patterns lists the patterns of all routes.
func patterns(protocols ...protocol) []string {
	all := []string{metricsPath}
	for _, p := range protocols {
		for _, r := range p.Routes() {
			all = append(all, r.Pattern)
		}
	}
	return all
}

const metricsPath = "/metrics"

// Headers of every response. All responses share the slices, which net/http never
// modifies.
var (
	headerNoSniff  = []string{"nosniff"}
	headerNoStore  = []string{"no-store"}
	headerNoSource = []string{"default-src 'none'; frame-ancestors 'none'"}
	headerHSTS     = []string{"max-age=31536000"}
	headerBuild    = []string{"OSS"}
)

// exchange is one request and its response.
type exchange struct {
	response
	httpapi.Exchange
	start  time.Time
	span   trace.Span // nil when nothing is traced
	broken bool       // the handler panicked in the middle of its answer
}

type connectionKey struct{}

// clientOf returns the connection of a request, nil in tests. With HTTP/2, one
// request waiting doesn't mean that the whole connection waits.
func clientOf(r *http.Request) httpapi.Client {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	switch {
	case !ok:
		return nil
	case r.ProtoMajor > 1:
		return multiplexed{c}
	}
	return c
}

type multiplexed struct{ *connection }

func (multiplexed) Waiting(bool) {}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.inFlight.Add(1)
	defer h.inFlight.Add(-1)
	x := &exchange{start: time.Now()}
	x.ResponseWriter, x.timeout, x.client = w, h.writeTimeout, &x.Exchange
	x.Origin.Remote, x.Origin.Request = remoteAddr(r, h.trusted), h.ids.next()
	x.Origin.Network = httpapi.Network(x.Origin.Remote)
	x.Limits, x.Client = h.limits, clientOf(r)
	defer x.Release()
	h.setHeaders(w.Header(), x.Origin.Request)

	incoming := incomingTrace(r.Header)
	if incoming.IsValid() {
		x.Origin.Trace = incoming.TraceID().String()
	}
	ctx := r.Context()
	if h.tracing != nil {
		ctx, x.span = h.tracing.start(r, incoming)
		x.Origin.Trace = x.span.SpanContext().TraceID().String()
	}
	if h.requestContext != nil {
		ctx = h.requestContext(ctx)
	}
	r = r.WithContext(httpapi.WithExchange(ctx, &x.Exchange))

	to := h.protocolOf(r)
	defer h.finish(x, r, to)
	if h.refuse(x, r, to) {
		return
	}
	if r.ContentLength != 0 {
		// Only for the body: a deadline for the whole request would interrupt
		// requests that wait.
		if d, ok := w.(interface{ SetReadDeadline(time.Time) error }); ok {
			r.Body = x.Pace(r.Body, x.start, h.readTimeout, d.SetReadDeadline)
		}
	}
	if r.URL.Path == metricsPath {
		h.serveMetrics(x, r)
		return
	}
	to.ServeHTTP(x, r)
}

// setHeaders sets the headers of every response. Web pages override the policy.
func (h *handler) setHeaders(header http.Header, request string) {
	header["X-Content-Type-Options"] = headerNoSniff
	header["Cache-Control"] = headerNoStore
	header["Content-Security-Policy"] = headerNoSource
	header["X-Influxdb-Build"] = headerBuild
	header["X-Influxdb-Version"] = h.version
	header["X-Request-Id"] = []string{request}
	if h.hsts {
		header["Strict-Transport-Security"] = headerHSTS
	}
}

func (h *handler) protocolOf(r *http.Request) protocol {
	path := r.URL.Path
	for strings.Contains(path, "//") { // Vault's clients are told the path without
		path = strings.ReplaceAll(path, "//", "/")
	}
	switch {
	case strings.HasPrefix(path, "/v1/"), strings.HasPrefix(path, "/influxd/v1/"):
		return h.vault
	case h.web != nil && web.Wants(r):
		return h.web
	}
	return h.influx
}

// probe reports whether a path is a health probe, which is answered in any state of
// the server.
func probe(path string) bool {
	return path == "/health" || path == "/ready" || path == "/ping" || path == metricsPath
}

// unlimited reports whether a path is exempt from the limit on requests: for
// Vault's clients, 429 there means that the server is on standby.
func unlimited(path string) bool {
	for _, prefix := range []string{"/v1/sys/", "/influxd/v1/sys/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			return rest == "health" || rest == "seal-status" || rest == "init"
		}
	}
	return false
}

// refuse rejects requests during shutdown and those over the limit.
func (h *handler) refuse(x *exchange, r *http.Request, to protocol) bool {
	if probe(r.URL.Path) {
		return false
	}
	if h.draining.Load() {
		x.Header().Set("Connection", "close")
		to.WriteError(x, r, keep.CodeUnavailable, "the server is shutting down")
		return true
	}
	if h.limiter == nil || unlimited(r.URL.Path) {
		return false
	}
	wait := h.limiter.wait(x.Origin.Network, x.start)
	if wait <= 0 {
		return false
	}
	h.requests.limited.Inc()
	httpapi.SetRetryAfter(x.Header(), wait)
	to.WriteError(x, r, keep.CodeTooMany, "too many requests from this address, try again later")
	return true
}

// serveMetrics needs no token, as in InfluxDB. Metrics contain no names or values,
// and identify no organization, user or client. To hide them, restrict access to
// the address or block the path in a proxy.
func (h *handler) serveMetrics(x *exchange, r *http.Request) {
	r.Pattern = metricsPath
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		x.Header().Set("Allow", "GET, HEAD")
		h.influx.WriteError(x, r, influxv2.CodeMethodNotAllowed, "method not allowed")
		return
	}
	h.metrics.ServeHTTP(x, r)
}

// finish ends an exchange: it responds if the handler panicked, and counts, traces
// and logs the response.
func (h *handler) finish(x *exchange, r *http.Request, to protocol) {
	fault := recover()
	if fault != nil {
		h.answerPanic(x, r, to, fault)
	}
	switch {
	case x.status != 0:
	case fault == nil:
		x.WriteHeader(http.StatusOK) // as net/http would, but in time
	default:
		x.status = http.StatusInternalServerError // the client gets no response
	}
	took := time.Since(x.start)
	route := h.requests.route(h.patternOf(r, to))
	route.done(r.Method, x.status, took)
	if x.span != nil {
		h.tracing.end(x.span, r.Method, route.pattern, x.status)
	}
	if ctx := r.Context(); h.logger.Enabled(ctx, slog.LevelDebug) {
		h.logger.LogAttrs(ctx, slog.LevelDebug, "request",
			slog.String("method", methodNames[methodIndex(r.Method)]), slog.String("route", route.pattern),
			slog.Int("status", x.status), slog.Duration("took", took), slog.Int64("bytes", x.bytes),
			slog.String("request", x.Origin.Request), slog.String("trace", x.Origin.Trace))
	}
	if x.broken {
		panic(http.ErrAbortHandler) // closes the connection, so the client notices the incomplete response
	}
}

// patternOf returns the pattern of the route that handled the request. The
// protocol's mux sets it in the request, unless it had to copy the request.
func (h *handler) patternOf(r *http.Request, to protocol) string {
	if r.Pattern != "" {
		return r.Pattern
	}
	return to.Pattern(r)
}

// answerPanic responds after a handler panicked. The panic value may contain
// secrets, so only its type is logged, or its text if it is a runtime error.
func (h *handler) answerPanic(x *exchange, r *http.Request, to protocol, fault any) {
	x.broken = x.status != 0 || fault == http.ErrAbortHandler
	if fault == http.ErrAbortHandler {
		return // the handler closed the connection on purpose
	}
	h.requests.panics.Inc()
	what := fmt.Sprintf("%T", fault)
	if err, ok := fault.(runtime.Error); ok {
		what = err.Error()
	}
	h.logger.Error("panic while answering a request", "request", x.Origin.Request,
		"route", h.patternOf(r, to), "panic", what, "stack", stackTrace())
	if !x.broken {
		to.WriteError(x, r, keep.CodeInternal, "an internal error has occurred")
	}
}

// stackTrace lists the functions that led to a panic, without their arguments.
func stackTrace() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	var b strings.Builder
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") {
			if b.Len() > 0 {
				b.WriteString(" < ")
			}
			fmt.Fprintf(&b, "%s (%s:%d)", path.Base(f.Function), path.Base(f.File), f.Line)
		}
		if !more {
			return b.String()
		}
	}
}
