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

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Config configures a Handler.
type Config struct {
	Version string
	Started time.Time
	// Logger gets a warning when an influxd writes to the wrong address.
	// Default: nothing is logged.
	Logger *slog.Logger
}

// Handler serves all paths below /v1/ and /influxd/v1/. It is safe for
// concurrent use.
type Handler struct {
	keep    *keep.Keep
	config  Config
	mux     *httpapi.Mux
	buffers httpapi.Buffers
	strayed sync.Once // guards the warning about an influxd that writes to /v1/
}

// mount is one of the two addresses of the engine.
type mount struct {
	*Handler
	prefix   string
	protocol keep.Protocol
	// merging marks the address for influxd: a stale check-and-set is merged,
	// the drop guard checks replaced documents, and a deleted document looks
	// as if it never existed, because Vault's response for one makes influxd
	// fail from then on.
	merging bool
}

// New returns a Handler.
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

// Pattern returns the pattern of the route for a request's path, or "".
func (h *Handler) Pattern(r *http.Request) string { return h.mux.Pattern(r) }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path := r.URL.EscapedPath(); strings.Contains(path, "//") {
		redirect(w, r, path)
		return
	}
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

// redirect sends a client that doubled a slash, usually after VAULT_ADDR, to the
// path without, as Vault does, whoever it is.
func redirect(w http.ResponseWriter, r *http.Request, path string) {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// refused checks requests of any caller to any route, in Vault's order.
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

// endsInSlash reports whether the original path ends in a slash, which routing
// ignores.
func endsInSlash(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return strings.HasSuffix(path, "/")
}

// mergePatch refuses a PATCH that is not declared as a merge patch, because
// other kinds of patches have a different meaning.
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

// methodIn returns the method that a GET stands for: LIST and SCAN can be
// requested in the query, for clients that lack these methods.
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

// call is one request being processed.
type call struct {
	*mount
	w      http.ResponseWriter
	r      *http.Request
	open   bool   // needs no caller
	id     string // of the request, a UUID
	origin keep.Origin
	token  string
	caller keep.Caller // set unless the route is open
	org    keep.ID     // set by organization
}

// serve runs fn for a request once its caller is known.
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
	// Neither may be ignored: the client would read from a different place
	// than it believes, or get in plain text what it wanted wrapped. And
	// clients take a 404 as a missing document, without showing the message.
	if ns := strings.Trim(c.r.Header.Get("X-Vault-Namespace"), "/"); ns != "" && ns != "root" {
		return invalid("namespace not found: this server has the root namespace alone")
	}
	if ttl := c.r.Header.Get("X-Vault-Wrap-Ttl"); ttl != "" && ttl != "0" {
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

// organization finds the organization in the path, by ID or name.
func (c *call) organization() (keep.ID, error) {
	var err error
	if c.org == 0 {
		ref := c.r.PathValue("org")
		c.org, err = c.keep.ResolveOrganization(c.r.Context(), c.caller, ref)
		c.caller.ByID = !c.merging && acl.LooksLikeID(ref) // an influxd has only IDs
	}
	return c.org, err
}
