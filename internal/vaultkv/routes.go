package vaultkv

import (
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// Methods that Vault has and HTTP lacks.
const (
	methodList = "LIST"
	methodScan = "SCAN"
)

// routes is the routing table. An organization's name may contain slashes,
// plain or percent-encoded, so {org...} matches the rest of the path.
func (m *mount) routes() []httpapi.Route {
	var table []httpapi.Route
	add := func(open bool, path string, fn func(*call) error, methods ...string) {
		for _, method := range methods {
			table = append(table, httpapi.Route{
				Method: method, Pattern: m.prefix + path, Open: open,
				Handler: func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, open, fn) },
			})
		}
	}
	route := func(path string, fn func(*call) error, methods ...string) { add(false, path, fn, methods...) }
	public := func(path string, fn func(*call) error, methods ...string) { add(true, path, fn, methods...) }
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

	route("secret/data/{org...}", (*call).readDocument, get)
	route("secret/data/{org...}", (*call).writeDocument, post, put)
	route("secret/data/{org...}", (*call).patchDocument, patch)
	route("secret/data/{org...}", (*call).deleteDocument, del)
	route("secret/subkeys/{org...}", (*call).readSubkeys, get)
	route("secret/delete/{org...}", (*call).deleteVersions, post, put)
	route("secret/undelete/{org...}", (*call).undeleteVersions, post, put)
	route("secret/destroy/{org...}", (*call).destroyVersions, post, put)
	route("secret/metadata", (*call).listDocuments, methodList, methodScan)
	route("secret/metadata/{org...}", (*call).listBelow, methodList, methodScan)
	route("secret/metadata/{org...}", (*call).readMetadata, get)
	route("secret/metadata/{org...}", (*call).writeMetadata, post, put)
	route("secret/metadata/{org...}", (*call).patchMetadata, patch)
	route("secret/metadata/{org...}", (*call).deleteMetadata, del)
	route("secret/config", (*call).readConfig, get)
	// Without these, http.ServeMux redirects to the path with a slash.
	for _, root := range []string{"data", "subkeys", "delete", "undelete", "destroy", "metadata"} {
		route("secret/"+root, (*call).engineRoot, get)
	}

	public("auth/approle/login", (*call).login, post, put)
	route("auth/token/create", (*call).createToken, post, put)
	route("auth/token/lookup", (*call).lookup, post, put)
	route("auth/token/lookup-accessor", (*call).lookupAccessor, post, put)
	route("auth/token/lookup-self", (*call).lookupSelf, get, post, put)
	route("auth/token/renew-self", (*call).renewSelf, post, put)
	route("auth/token/revoke-self", (*call).revokeSelf, post, put)

	public("sys/health", (*call).health, get, http.MethodHead)
	public("sys/seal-status", (*call).sealStatus, get)
	public("sys/init", (*call).initStatus, get)
	public("sys/leader", (*call).leader, get)
	route("sys/mounts", (*call).mounts, get)
	route("sys/mounts/{path...}", (*call).readMount, get)
	route("sys/auth", (*call).authMounts, get)
	route("sys/auth/{path...}", (*call).readAuthMount, get)
	route("sys/internal/ui/mounts", (*call).visibleMounts, get)
	route("sys/internal/ui/mounts/{path...}", (*call).readMountOf, get)
	route("sys/capabilities-self", (*call).capabilities, post, put)
	return table
}
