package influxv2

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Config configures a Handler. All fields are optional.
type Config struct {
	// Version and Commit identify the program.
	Version, Commit string
	// Started is the server's start time.
	Started time.Time
	// Ready returns why the server can't work, or nil if it can.
	Ready func() error
	// Warnings returns conditions that need an operator although the server
	// works. Every health request calls it, so it must not block.
	Warnings func() []Warning
	// Settings returns the configuration for operators, without secrets.
	Settings func() map[string]any
	// Secure reports whether the client's connection is encrypted, so that a
	// session's cookie is for such connections only. By default that is a
	// request that came over TLS; behind a proxy the server knows more.
	Secure func(*http.Request) bool
	// CrossOrigin refuses what the page of another site makes a browser send. It
	// defaults to one that trusts no other origin.
	CrossOrigin *http.CrossOriginProtection
	// OwnHost reports whether browsers reach the server by the Host header of a
	// request. By default any host is the server's.
	OwnHost func(*http.Request) bool
	// Done, when closed, ends requests that wait for a change.
	Done <-chan struct{}
}

// Warning is the result of one check. If Err is a *keep.Error, everyone may
// read it; any other error is only logged.
type Warning struct {
	Name string
	Err  error // nil if the check passed
}

// Handler serves /api/v2, /health, /ready and /ping. It is safe for concurrent
// use.
type Handler struct {
	keep    *keep.Keep
	config  Config
	mux     *httpapi.Mux
	links   []byte
	buffers httpapi.Buffers
	// maxImport limits the size of an import, compressed and decompressed.
	maxImport int64

	// Values of headers in every response.
	build, version, noStore []string
}

// protocolVersion is the InfluxDB version whose protocol this is. Clients read
// it from a header, and some compare it.
const protocolVersion = "v2.8.0"

// VersionHeader returns the X-Influxdb-Version header for a version of the
// program, which it adds as semantic versioning's build metadata. That may
// contain only letters, digits and hyphens.
func VersionHeader(program string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || r == '-' || r == '.' {
			return r
		}
		return -1
	}, program)
	if clean == "" {
		return protocolVersion
	}
	return protocolVersion + "+fluxkeep." + clean
}

// New makes a Handler.
func New(k *keep.Keep, c Config) *Handler {
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Warnings == nil {
		c.Warnings = func() []Warning { return nil }
	}
	if c.Settings == nil {
		c.Settings = func() map[string]any { return nil }
	}
	if c.CrossOrigin == nil {
		c.CrossOrigin = http.NewCrossOriginProtection()
	}
	if c.OwnHost == nil {
		c.OwnHost = func(*http.Request) bool { return true }
	}
	if c.Secure == nil {
		c.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	h := &Handler{
		keep: k, config: c, links: serviceLinks(),
		maxImport: maxImportBody,
		build:     []string{"OSS"}, version: []string{VersionHeader(c.Version)}, noStore: []string{"no-store"},
	}
	h.mux = httpapi.NewMux(h.routes(), httpapi.MuxConfig{
		NotFound:   h.notFound,
		NotAllowed: h.notAllowed,
		Before:     h.before,
	})
	return h
}

// Routes returns the routing table.
func (h *Handler) Routes() []httpapi.Route { return h.mux.Routes() }

// Pattern returns the pattern of the route that serves a request, or "".
func (h *Handler) Pattern(r *http.Request) string { return h.mux.Pattern(r) }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.setHeaders(w, r)
	if isAPI(r) && preflight(w, r) {
		return
	}
	h.mux.ServeHTTP(w, r)
}

// setHeaders sets the headers of every response, including errors.
func (h *Handler) setHeaders(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header["X-Influxdb-Build"] = h.build
	header["X-Influxdb-Version"] = h.version
	header["Cache-Control"] = h.noStore
	if isAPI(r) {
		allowOrigin(header, r)
	}
}

const apiPath = "/api/v2"

func isAPI(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, apiPath)
	return ok && (rest == "" || rest[0] == '/')
}

// call is one request and its caller.
type call struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	caller keep.Caller
}

func (c *call) ctx() context.Context { return c.r.Context() }
