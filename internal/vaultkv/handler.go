package vaultkv

import (
	"net/http"
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
	// Now defaults to time.Now. It is the domain's clock.
	Now func() time.Time
}

// Handler serves everything below /v1/ and /influxd/v1/. It may be used by
// several goroutines at once.
type Handler struct {
	keep    *keep.Keep
	config  Config
	mux     *httpapi.Mux
	buffers sync.Pool // of *[]byte, for answers
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
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &Handler{keep: k, config: c}
	h.buffers.New = func() any { return new([]byte) }
	strict := &mount{Handler: h, prefix: "/v1/", protocol: keep.Vault}
	influxd := &mount{Handler: h, prefix: "/influxd/v1/", protocol: keep.Influxd, merging: true}
	at := func(r *http.Request) *mount {
		if strings.HasPrefix(r.URL.Path, influxd.prefix) {
			return influxd
		}
		return strict
	}
	h.mux = httpapi.NewMux(append(strict.routes(), influxd.routes()...), httpapi.MuxConfig{
		NotFound:   func(w http.ResponseWriter, r *http.Request) { at(r).serve(w, r, false, (*call).noRoute) },
		NotAllowed: func(w http.ResponseWriter, r *http.Request) { at(r).serve(w, r, false, (*call).notAllowed) },
	})
	return h
}

// Routes returns the table of routes.
func (h *Handler) Routes() []httpapi.Route { return h.mux.Routes() }

// Pattern returns the pattern of the route that a request's path has, "" if
// none.
func (h *Handler) Pattern(r *http.Request) string { return h.mux.Pattern(r) }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.RawQuery != "" && r.URL.Query().Has("list") {
		list, err := strconv.ParseBool(r.URL.Query().Get("list"))
		if err != nil {
			h.WriteError(w, r, keep.CodeInvalid, `the parameter "list" must be true or false`)
			return
		}
		if list {
			// GET stands for LIST, for clients that have no such method.
			asList := *r
			asList.Method = methodList
			r = &asList
		}
	}
	h.mux.ServeHTTP(w, r)
}

// call is one request on its way to an answer.
type call struct {
	*mount
	w      http.ResponseWriter
	r      *http.Request
	id     string // of the request, a UUID
	origin keep.Origin
	token  string
	caller keep.Caller // set unless the route is open
}

// serve runs fn for a request, once it is known who asks.
func (m *mount) serve(w http.ResponseWriter, r *http.Request, open bool, fn func(*call) error) {
	o := httpapi.OriginOf(r.Context())
	c := &call{mount: m, w: w, r: r, id: o.Request, token: tokenOf(r)}
	if !isUUID(c.id) {
		c.id = newUUID()
	}
	if o.Request == "" {
		o.Request = c.id
	}
	c.origin = keep.Origin{Protocol: m.protocol, Remote: o.Remote, Request: o.Request, Trace: o.Trace}
	if err := c.prepare(open); err != nil {
		c.fail(err)
		return
	}
	if err := fn(c); err != nil {
		c.fail(err)
	}
}

func (c *call) prepare(open bool) error {
	// Neither can be ignored: the client would read in another place than it
	// believes, or get in plain what it wanted wrapped. Clients would take a
	// 404 for a document that is not there, and say no more about it.
	if ns := strings.Trim(c.r.Header.Get("X-Vault-Namespace"), "/"); ns != "" && ns != "root" {
		return invalid("namespace not found: this server has the root namespace alone")
	}
	if ttl := c.r.Header.Get("X-Vault-Wrap-TTL"); ttl != "" && ttl != "0" {
		return invalid("response wrapping is not supported")
	}
	if open {
		return nil
	}
	caller, err := c.keep.Authenticate(c.r.Context(), c.origin, c.token)
	c.caller = caller
	return err
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
	return c.keep.ResolveOrganization(c.r.Context(), c.caller, c.r.PathValue("org"))
}

func (c *call) noRoute() error {
	path := strings.TrimPrefix(c.r.URL.Path, c.prefix)
	if mount, _, _ := strings.Cut(path, "/"); mount == "secret" {
		// As Vault, whose clients show a warning: who comes here knows version
		// 1 of the engine, or a command other than "kv".
		return c.respond(http.StatusNotFound, []string{
			"Invalid path for a versioned K/V secrets engine: secrets are at secret/data/ORGANIZATION, and the vault and bao commands find them there with \"kv\".",
		}, appendNull)
	}
	return &statusError{http.StatusNotFound, "no handler for route " + strconv.Quote(path) + ". route entry not found."}
}

func (c *call) notAllowed() error {
	return &statusError{http.StatusMethodNotAllowed, "unsupported operation"}
}
