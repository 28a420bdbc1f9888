package vaultkv

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Vault's responses for paths that aren't served. Clients show them to users.

// knownMethod reports whether Vault authenticates a request with this method
// before it rejects the path.
func knownMethod(method string) bool {
	_, command := kvCommand(method)
	return command || method == http.MethodHead || method == http.MethodOptions
}

// kvCommand returns the command that Vault suggests to clients that use the
// unversioned engine's paths.
func kvCommand(method string) (string, bool) {
	switch method {
	case http.MethodPost, http.MethodPut:
		return "put", true
	case http.MethodGet, http.MethodPatch, http.MethodDelete, methodList, methodScan:
		return strings.ToLower(method), true
	}
	return "", false
}

func (c *call) noRoute() error {
	if c.open { // for any caller
		return errMethod
	}
	path := c.path()
	switch mount, _, _ := strings.Cut(path, "/"); mount {
	case "secret":
		if command, ok := kvCommand(c.r.Method); ok {
			return c.respond(http.StatusNotFound, []string{
				"Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. " +
					"If using the OpenBao CLI, use 'bao kv " + command + "' for this operation.",
			}, appendNull)
		}
		return errUnsupported
	case "sys":
		return &statusError{http.StatusNotFound, oneError("unsupported path")}
	}
	return &statusError{http.StatusNotFound, "no handler for route " + strconv.Quote(path) + ". route entry not found."}
}

// path returns the request's path as Vault sees it: as it was sent, without the
// prefix, and with a trailing slash for a list.
func (c *call) path() string {
	path := c.r.URL.Path
	if u, err := url.ParseRequestURI(c.r.RequestURI); err == nil {
		path = u.Path // routing has changed the other one
	}
	path = strings.TrimPrefix(path, strings.TrimSuffix(c.prefix, "/"))
	path = strings.TrimPrefix(path, "/")
	lists := c.r.Method == methodList || c.r.Method == methodScan
	if (lists || endsInSlash(c.r)) && path != "" && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return path
}

// notAllowed responds to a method that the path doesn't support.
func (c *call) notAllowed() error {
	if c.open { // for any caller
		return errMethod
	}
	_, command := kvCommand(c.r.Method)
	switch kind, found := strings.CutPrefix(c.path(), "secret/"); {
	case !found || !command || kind == "config" || strings.Contains(strings.TrimSuffix(kind, "/"), "/"):
		return errUnsupported
	case kind == "config/":
		return c.noRoute()
	}
	return c.engineRoot()
}

// engineRoot responds to a path that names an operation but no organization.
func (c *call) engineRoot() error {
	switch path := c.path(); {
	case path == "secret/subkeys":
		return c.noRoute()
	case !strings.HasSuffix(path, "/"):
		return c.respond(http.StatusNotFound, []string{"Non-listing operations on the root of a K/V v2 mount are not supported."}, appendNull)
	case c.r.Method == http.MethodGet && slices.Contains([]string{"secret/data/", "secret/metadata/", "secret/subkeys/"}, path):
		return keep.ErrVersionNotFound
	}
	return errUnsupported
}

var errMethod = &statusError{http.StatusMethodNotAllowed, ""}

var errUnsupported = &statusError{http.StatusMethodNotAllowed, oneError("unsupported operation")}

// oneError formats one error as Vault formats a list of errors.
func oneError(message string) string { return "1 error occurred:\n\t* " + message + "\n\n" }
