package web

import (
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Config configures a Handler. All fields are optional.
type Config struct {
	// Version identifies the program.
	Version string
	// Origin is where browsers find the page, if a proxy changes the Host header or
	// OwnHost refuses it.
	Origin string
	// Base is the prefix that a reverse proxy removes from the page's paths.
	Base string
	// CrossOrigin refuses what the page of another site makes a browser send. It
	// defaults to one that trusts no other origin.
	CrossOrigin *http.CrossOriginProtection
	// OwnHost reports whether browsers reach the server by the Host header of a
	// request. By default any host is the server's.
	OwnHost func(*http.Request) bool
	// Secure reports whether the client's connection is encrypted. By default
	// that is a request that came over TLS.
	Secure func(*http.Request) bool
	// Started is the server's start time.
	Started time.Time
	// Server describes the server for operators.
	Server func() ServerInfo
	// Now defaults to time.Now.
	Now func() time.Time
}

// Handler serves all paths under /ui/, and browsers at /. It is safe for concurrent
// use.
type Handler struct {
	keep      *keep.Keep
	config    Config
	mux       *httpapi.Mux
	pages     map[string]*template.Template
	assets    *assets
	once      *onceResults
	setupOnce setupOnce
	cookie    string // the name of the session's cookie, without __Host-
}

// New returns a Handler. It fails if a template is invalid, or if pages and
// templates don't match.
func New(k *keep.Keep, c Config) (*Handler, error) {
	if c.Secure == nil {
		c.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if c.OwnHost == nil {
		c.OwnHost = func(*http.Request) bool { return true }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CrossOrigin == nil {
		c.CrossOrigin = http.NewCrossOriginProtection()
	}
	h := &Handler{keep: k, config: c, once: newOnceResults(c.Now), cookie: "fluxkeep-" + k.ServerID()}
	var err error
	if h.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if h.pages, err = h.parsePages(); err != nil {
		return nil, err
	}
	var table []httpapi.Route
	for _, r := range routes() {
		table = append(table, httpapi.Route{Method: r.method, Pattern: r.pattern, Open: r.open, Handler: h.handler(r)})
	}
	h.mux = httpapi.NewMux(table, httpapi.MuxConfig{
		NotFound:   h.handler(route{serve: func(*call) error { return errMissing }}),
		NotAllowed: h.handler(route{serve: func(*call) error { return errNotAllowed }}),
	})
	return h, nil
}

// Routes returns the route table.
func (h *Handler) Routes() []httpapi.Route { return h.mux.Routes() }

// Pattern returns the pattern of the route for a request's path, or "".
func (h *Handler) Pattern(r *http.Request) string { return h.mux.Pattern(r) }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	if !h.config.OwnHost(r) && !strings.HasPrefix(r.URL.Path, "/ui/assets/") { // the error page has a style, too
		h.newCall(w, r).fail(errHost)
		return
	}
	if r.URL.Path == "/" {
		http.Redirect(w, r, h.config.Base+"/ui/", http.StatusSeeOther)
		return
	}
	if err := h.config.CrossOrigin.Check(r); err != nil {
		h.newCall(w, r).fail(errOrigin)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// WriteError responds with a page that shows the error.
func (h *Handler) WriteError(w http.ResponseWriter, r *http.Request, code keep.Code, message string) {
	setHeaders(w.Header())
	h.newCall(w, r).fail(&keep.Error{Code: code, Message: message})
}
