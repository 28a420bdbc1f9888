package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Route is an entry of a protocol's route table.
type Route struct {
	Method string
	// Pattern is a path of http.ServeMux without method, host or trailing
	// slash: /api/v2/orgs/{orgID}/secrets.
	Pattern string
	// Open means that the route needs no authentication.
	Open bool
	// Lenient makes a route for changes accept empty segments and ignore a
	// trailing slash. Other such routes answer not found: clients that resolve
	// a final dot segment produce such paths, and meant something else.
	Lenient bool
	Handler http.HandlerFunc
}

// MuxConfig configures a Mux. The two handlers are required.
type MuxConfig struct {
	NotFound   http.HandlerFunc // no route matches the path
	NotAllowed http.HandlerFunc // the path has routes, but not for the method; Allow is set
	// Before runs before a route's handler, or before NotAllowed with a nil
	// route. It returns the request to continue with, or nil if it has
	// answered.
	Before func(w http.ResponseWriter, r *http.Request, route *Route) *http.Request
	// NoHead means that GET routes do not handle HEAD.
	NoHead bool
}

// Mux serves a route table.
type Mux struct {
	mux      *http.ServeMux
	routes   []Route
	patterns map[string]map[string]*Route // by pattern and method
	notFound http.HandlerFunc
}

// NewMux returns a mux. GET routes also handle HEAD, unless c.NoHead is set.
func NewMux(routes []Route, c MuxConfig) *Mux {
	patterns := map[string]map[string]*Route{}
	m := &Mux{mux: http.NewServeMux(), routes: routes, patterns: patterns, notFound: c.NotFound}
	for i := range routes {
		r := &m.routes[i]
		if patterns[r.Pattern] == nil {
			patterns[r.Pattern] = map[string]*Route{}
		}
		patterns[r.Pattern][r.Method] = r
	}
	for pattern, methods := range patterns {
		if get := methods[http.MethodGet]; get != nil && methods[http.MethodHead] == nil && !c.NoHead {
			methods[http.MethodHead] = get
		}
		m.mux.Handle(pattern, dispatch(pattern, methods, c))
	}
	m.mux.Handle("/", c.NotFound)
	return m
}

func dispatch(pattern string, methods map[string]*Route, c MuxConfig) http.Handler {
	allow := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	var wildcards []string
	for segment := range strings.SplitSeq(pattern, "/") {
		if strings.HasPrefix(segment, "{") {
			wildcards = append(wildcards, strings.Trim(segment, "{.}"))
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range wildcards {
			if r.PathValue(name) == markedSlash {
				r.SetPathValue(name, "/")
			}
		}
		route := methods[r.Method]
		if c.Before != nil {
			if r = c.Before(w, r, route); r == nil {
				return
			}
		}
		if route == nil {
			w.Header().Set("Allow", allow)
			c.NotAllowed(w, r)
			return
		}
		route.Handler(w, r)
	})
}

// Routes returns the route table.
func (m *Mux) Routes() []Route { return m.routes }

// Pattern returns the pattern that matches a request's path, or "".
func (m *Mux) Pattern(r *http.Request) string {
	if _, pattern := m.mux.Handler(canonical(r)); pattern != "/" {
		return pattern
	}
	return ""
}

func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := canonical(r)
	if c != r && straySlash(r) {
		if route := m.patterns[m.Pattern(r)][r.Method]; route == nil || !route.Lenient {
			m.notFound(w, c)
			return
		}
	}
	m.mux.ServeHTTP(w, c)
}

// straySlash reports whether the path of a request for a change has a trailing
// slash or an empty segment.
func straySlash(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		path := r.URL.EscapedPath()
		return strings.HasSuffix(path, "/") || strings.Contains(path, "//")
	}
	return false
}

// markedSlash stands for a segment that consists of an escaped slash.
// http.ServeMux would take it for a trailing slash. No name contains a NUL
// byte.
const markedSlash = "/\x00"

// canonical makes http.ServeMux match the path as it was sent. It ignores one
// trailing slash, if ServeHTTP allows it. Segments that ServeMux would clean,
// with a redirect, are rewritten as ordinary ones: ".." is a name, and an
// empty segment an invalid ID. A needlessly escaped dot segment, such as
// %2E%2E, is taken literally, as in InfluxDB: the two are different secrets.
func canonical(r *http.Request) *http.Request {
	path := r.URL.EscapedPath()
	if path != "" && !strings.HasSuffix(path, "/") && !strings.Contains(path, "//") && !strings.Contains(path, "/.") && !strings.Contains(path, "%2") {
		return r
	}
	segments := strings.Split(strings.TrimSuffix(path, "/"), "/")
	for i, s := range segments {
		switch {
		case i > 0 && s == "":
			segments[i] = "%00"
		case strings.EqualFold(s, "%2F"):
			segments[i] = "%2F%00"
		case strings.EqualFold(s, "%2F%00"):
			segments[i] = "%00" // equally invalid, but not markedSlash
		case s == "." || s == "..":
			segments[i] = strings.ReplaceAll(s, ".", "%2E")
		case len(s) <= len("%2E%2E") && strings.Contains(s, "%") && strings.Trim(strings.ToUpper(s), "%2E.") == "":
			if name, err := url.PathUnescape(s); err == nil && (name == "." || name == "..") {
				segments[i] = strings.ReplaceAll(s, "%", "%25")
			}
		}
	}
	raw := strings.Join(segments, "/")
	if raw == "" {
		raw = "/"
	}
	plain, err := url.PathUnescape(raw)
	if err != nil {
		return r // cannot happen: net/http has parsed it
	}
	u := *r.URL
	u.Path, u.RawPath = plain, raw
	c := *r
	c.URL = &u
	return &c
}
