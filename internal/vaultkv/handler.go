package vaultkv

import (
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Config says what a Handler tells about the server.
type Config struct {
	Version string
	Started time.Time
	// Logger gets a warning when an influxd writes to the wrong address. It
	// defaults to none.
	Logger *slog.Logger
}

// Handler serves everything below /v1/ and /influxd/v1/. It may be used by
// several goroutines at once.
type Handler struct {
	keep    *keep.Keep
	config  Config
	mux     *httpapi.Mux
	buffers httpapi.Buffers
	strayed sync.Once // warns of an influxd that writes to /v1/
}

// mount is one of the two places where the engine is served.
type mount struct {
	*Handler
	prefix   string
	protocol keep.Protocol
	// merging is the address for an influxd: a stale check-and-set is merged,
	// the drop guard watches over replaced documents, and a deleted document
	// is answered as one that never was, since influxd fails on the other form
	// from then on.
	merging bool
}

// New makes a Handler.
func New(k *keep.Keep, c Config) *Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{keep: k, config: c}
	strict := &mount{Handler: h, prefix: "/v1/", protocol: keep.Vault}
	influxd := &mount{Handler: h, prefix: "/influxd/v1/", protocol: keep.Influxd, merging: true}
	at := func(r *http.Request) *mount {
		if strings.HasPrefix(r.URL.Path, influxd.prefix) {
			return influxd
		}
		return strict
	}
	routes := append(strict.routes(), influxd.routes()...)
	open := map[string]bool{} // by pattern
	for i := range routes {
		open[routes[i].Pattern] = routes[i].Open
	}
	h.mux = httpapi.NewMux(routes, httpapi.MuxConfig{
		NotFound: func(w http.ResponseWriter, r *http.Request) {
			at(r).serve(w, r, !knownMethod(r.Method), (*call).noRoute)
		},
		NotAllowed: func(w http.ResponseWriter, r *http.Request) {
			at(r).serve(w, r, !knownMethod(r.Method) || open[h.mux.Pattern(r)], (*call).notAllowed)
		},
		NoHead: true,
	})
	return h
}

// Routes returns the table of routes.
func (h *Handler) Routes() []httpapi.Route { return h.mux.Routes() }

// Pattern returns the pattern of the route that a request's path has, "" if
// none.
func (h *Handler) Pattern(r *http.Request) string { return h.mux.Pattern(r) }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := refused(r); err != nil {
		h.writeErrors(w, err.status, err.message)
		return
	}
	if r.Method == http.MethodGet && r.URL.RawQuery != "" {
		query := r.URL.Query()
		method, err := methodIn(query)
		if err != nil {
			h.writeErrors(w, err.status, err.message)
			return
		}
		if method != r.Method {
			query.Del(strings.ToLower(method))
			instead, target := *r, *r.URL
			target.RawQuery = query.Encode()
			instead.Method, instead.URL = method, &target
			r = &instead
		}
	}
	h.mux.ServeHTTP(w, r)
}

// refused says what is wrong with a request whoever sends it, and to whatever
// route, in Vault's order of checks.
func refused(r *http.Request) *statusError {
	switch r.Method {
	case http.MethodPatch:
		if err := mergePatch(r); err != nil {
			return err
		}
		fallthrough
	case http.MethodPost, http.MethodPut:
		if endsInSlash(r) {
			return &statusError{http.StatusBadRequest, "cannot write to a path ending in '/'"}
		}
	}
	return nil
}

// endsInSlash reports whether the path as it was sent does: routes are found
// without it.
func endsInSlash(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return strings.HasSuffix(path, "/")
}

// mergePatch refuses a PATCH that does not say that it is a merge patch, since
// other kinds of patches would mean something else.
func mergePatch(r *http.Request) *statusError {
	const wanted = "application/merge-patch+json"
	given := r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(given)
	if err != nil {
		return &statusError{http.StatusBadRequest, err.Error()}
	}
	if kind != wanted {
		return &statusError{http.StatusUnsupportedMediaType, fmt.Sprintf("PATCH requires Content-Type of %s, provided %s", wanted, given)}
	}
	return nil
}

// methodIn returns the method that a GET stands for: LIST and SCAN are asked
// for in the query too, for clients that have no such methods.
func methodIn(query url.Values) (string, *statusError) {
	method := http.MethodGet
	for _, m := range []string{methodList, methodScan} {
		name := strings.ToLower(m)
		text := query.Get(name)
		if text == "" {
			continue
		}
		on, err := strconv.ParseBool(text)
		if err != nil || (on && method != http.MethodGet) {
			return "", errParameter
		}
		if on {
			method = m
		}
	}
	return method, nil
}

// call is one request on its way to an answer.
type call struct {
	*mount
	w      http.ResponseWriter
	r      *http.Request
	open   bool   // to everybody
	id     string // of the request, a UUID
	origin keep.Origin
	token  string
	caller keep.Caller // set unless the route is open
	org    keep.ID     // once it was found
}

// serve runs fn for a request, once it is known who asks.
func (m *mount) serve(w http.ResponseWriter, r *http.Request, open bool, fn func(*call) error) {
	o := httpapi.OriginOf(r.Context())
	c := &call{mount: m, w: w, r: r, open: open, id: o.Request, token: tokenOf(r)}
	if !isUUID(c.id) {
		c.id = newUUID()
	}
	if o.Request == "" {
		o.Request = c.id
	}
	c.origin = keep.Origin{Protocol: m.protocol, Remote: o.Remote, Network: o.Network, Request: o.Request, Trace: o.Trace}
	if err := c.prepare(); err != nil {
		c.fail(err)
		return
	}
	if err := fn(c); err != nil {
		c.fail(err)
	}
}

func (c *call) prepare() error {
	// Neither can be ignored: the client would read in another place than it
	// believes, or get in plain what it wanted wrapped. Clients would take a
	// 404 for a document that is not there, and say no more about it.
	if ns := strings.Trim(c.r.Header.Get("X-Vault-Namespace"), "/"); ns != "" && ns != "root" {
		return invalid("namespace not found: this server has the root namespace alone")
	}
	if ttl := c.r.Header.Get("X-Vault-Wrap-TTL"); ttl != "" && ttl != "0" {
		return invalid("response wrapping is not supported")
	}
	if c.open {
		return nil
	}
	caller, err := c.keep.Authenticate(c.r.Context(), c.origin, c.token)
	c.caller = caller
	if err != nil {
		return err
	}
	user, token := caller.Account()
	httpapi.ExchangeOf(c.r.Context()).Identify(uint64(user), uint64(token))
	return nil
}

func tokenOf(r *http.Request) string {
	if t := r.Header.Get("X-Vault-Token"); t != "" {
		return t
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// organization finds the organization that the path names, by ID or by name.
func (c *call) organization() (keep.ID, error) {
	var err error
	if c.org == 0 {
		c.org, err = c.keep.ResolveOrganization(c.r.Context(), c.caller, c.r.PathValue("org"))
	}
	return c.org, err
}
