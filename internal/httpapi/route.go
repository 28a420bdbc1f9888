package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Route is a line of a protocol's table of routes.
type Route struct {
	Method string
	// Pattern is a path of http.ServeMux without method, host or trailing
	// slash: /api/v2/orgs/{orgID}/secrets.
	Pattern string
	// Open says that the route is for everybody: no caller has to be known.
	Open bool
	// Lenient lets a route that changes something ignore a slash at the path's
	// end, and take empty segments. Without it the path is not found: it is
	// what clients make of a path whose last segment was a dot segment, and
	// was meant for something else.
	Lenient bool
	Handler http.HandlerFunc
}

// MuxConfig says what a Mux does besides finding routes. The two handlers are
// required.
type MuxConfig struct {
	NotFound   http.HandlerFunc // no route has the path
	NotAllowed http.HandlerFunc // none of the path's routes has the method; the Allow header is set
	// Before runs before a route's handler, or before NotAllowed with a nil
	// route. It returns the request to go on with, or nil when it has
	// answered.
	Before func(w http.ResponseWriter, r *http.Request, route *Route) *http.Request
	// NoHead leaves HEAD to routes of its own.
	NoHead bool
}

// Mux serves a table of routes.
type Mux struct {
	mux      *http.ServeMux
	routes   []Route
	patterns map[string]map[string]*Route // by pattern and method
	notFound http.HandlerFunc
}

// NewMux makes a mux. A GET route answers HEAD too, unless c says otherwise.
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
	var names []string
	for method := range methods {
		names = append(names, method)
	}
	slices.Sort(names)
	allow := strings.Join(names, ", ")
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

// Routes returns the table.
func (m *Mux) Routes() []Route { return m.routes }

// Pattern returns the pattern that a request's path has, "" if none.
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

// straySlash reports whether the path of a request for a change ends with a
// slash or has an empty segment.
func straySlash(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		path := r.URL.EscapedPath()
		return strings.HasSuffix(path, "/") || strings.Contains(path, "//")
	}
	return false
}

// markedSlash stands for a segment that is an escaped slash and nothing else,
// which http.ServeMux would take for a slash at the path's end. No name has a
// NUL byte.
const markedSlash = "/\x00"

// canonical makes http.ServeMux take a path as it was sent. One slash at the
// end is ignored, where ServeHTTP lets it. Segments that ServeMux would clean away, and redirect, are
// spelt so that they are ordinary ones: ".." is a name, and an empty segment
// an invalid ID. A dot segment that is escaped without need, such as %2E%2E,
// is a name as it stands, as in InfluxDB: the two are different secrets.
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
			segments[i] = "%00" // as invalid, and no markedSlash
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
		return r // not possible: net/http has parsed it
	}
	u := *r.URL
	u.Path, u.RawPath = plain, raw
	c := *r
	c.URL = &u
	return &c
}
