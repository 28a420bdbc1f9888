package influxv2

import (
	"context"
	"net/http"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// sessionCookie is the name of the cookie in which InfluxDB's clients keep a
// session.
const sessionCookie = "influxdb-oss-session"

type callKey struct{}

// before authenticates a request. It is the only place that does: handlers of
// routes that aren't open always have a caller.
func (h *Handler) before(w http.ResponseWriter, r *http.Request, route *httpapi.Route) *http.Request {
	c := &call{Handler: h, w: w}
	if route != nil && route.Open || route == nil && !isAPI(r) { // /ping and the like are open to every method
		c.caller = keep.Anonymous(originOf(r))
	} else if route != nil && route.Method == http.MethodPut && route.Pattern == ownPasswordPath && h.onlyPassword(r) {
		// The old password itself authenticates a user who can't sign in with it.
		c.caller = keep.Anonymous(originOf(r))
	} else {
		var err error
		if c.caller, err = h.authenticate(r); err != nil {
			h.refuse(w, r, err)
			return nil
		}
		c.caller.OrganizationFirst = true
		user, token := c.caller.Account()
		httpapi.ExchangeOf(r.Context()).Identify(uint64(user), uint64(token))
	}
	c.r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	return c.r
}

// handler returns an http.HandlerFunc for a method that responds or returns an
// error.
func (h *Handler) handler(fn func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(callKey{}).(*call)
		if !ok { // can't happen: before runs before every handler
			h.fail(w, r, keep.ErrUnauthenticated)
			return
		}
		if err := fn(c); err != nil {
			h.fail(w, r, err)
		}
	}
}

func originOf(r *http.Request) keep.Origin {
	o := httpapi.OriginOf(r.Context())
	protocol := keep.InfluxDB
	if strings.HasPrefix(r.UserAgent(), "fluxkeep/") {
		protocol = keep.CLI
	}
	return keep.Origin{Protocol: protocol, Remote: o.Remote, Network: o.Network, Request: o.Request, Trace: o.Trace}
}

// authenticate finds the caller by the token in the header or, without one, by
// the session.
func (h *Handler) authenticate(r *http.Request) (keep.Caller, error) {
	if token, ok := tokenIn(r.Header.Get("Authorization")); ok {
		return h.keep.Authenticate(r.Context(), originOf(r), token)
	}
	if keys := h.sessions(r); len(keys) > 0 {
		return h.keep.AuthenticateSession(r.Context(), originOf(r), keys...)
	}
	// The empty token stands for none. Authenticating it records the refusal
	// in the audit log.
	return h.keep.Authenticate(r.Context(), originOf(r), "")
}

// onlyPassword reports whether a request shows a password and no session.
func (h *Handler) onlyPassword(r *http.Request) bool {
	_, _, basic := r.BasicAuth()
	return basic && len(h.sessions(r)) == 0
}

// maxSessions limits the cookies of one request that are tried.
const maxSessions = 4

// sessions returns the session keys in cookies: more than one if the browser has
// cookies of the same name for several paths or domains, of which some may be
// stale. It ignores those of a change that another site made the browser send.
func (h *Handler) sessions(r *http.Request) []string {
	cookies := r.CookiesNamed(sessionCookie)
	if len(cookies) == 0 || h.config.CrossOrigin.Check(r) != nil {
		return nil
	}
	var keys []string
	for _, c := range cookies[:min(len(cookies), maxSessions)] {
		keys = append(keys, c.Value)
	}
	return keys
}

// tokenIn extracts the token from an Authorization header: everything after
// Token or Bearer, in any case, and one space.
func tokenIn(header string) (string, bool) {
	for _, scheme := range [...]string{"Token ", "Bearer "} {
		if len(header) > len(scheme) && strings.EqualFold(header[:len(scheme)], scheme) {
			return header[len(scheme):], true
		}
	}
	return "", false
}

// notFound responds where there is no route. As in InfluxDB, paths below
// /api/v2 need an authenticated caller.
func (h *Handler) notFound(w http.ResponseWriter, r *http.Request) {
	if isAPI(r) {
		if _, err := h.authenticate(r); err != nil {
			h.refuse(w, r, err)
			return
		}
		if resource, ok := unserved(r.URL.Path); ok {
			h.WriteError(w, r, codeNotImplemented, "this server keeps secrets and has no "+resource)
			return
		}
	}
	h.WriteError(w, r, keep.CodeNotFound, "path not found")
}

func (h *Handler) notAllowed(w http.ResponseWriter, r *http.Request) {
	h.WriteError(w, r, CodeMethodNotAllowed, "allow: "+w.Header().Get("Allow"))
}

// unserved reports whether a path belongs to a part of InfluxDB's API that
// isn't served here, and names the resource.
func unserved(path string) (string, bool) {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, apiPath+"/"), "/")
	switch first {
	case "annotations", "backup", "buckets", "checks", "dashboards", "dbrps", "flags", "labels", "notebooks",
		"notificationEndpoints", "notificationRules", "remotes", "replications", "restore", "scrapers", "scripts",
		"sources", "stacks", "tasks", "telegraf", "telegrafs", "templates", "variables", "views":
		return first, true
	case "delete", "query", "write":
		return "time series", true
	}
	return "", false
}
