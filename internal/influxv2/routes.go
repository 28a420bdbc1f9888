package influxv2

import (
	"net/http"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

const ownPasswordPath = apiPath + "/me/password"

// routes is the routing table. A test compares it with openapi.json.
func (h *Handler) routes() []httpapi.Route {
	var table []httpapi.Route
	add := func(open bool, method, path string, fn func(*call) error) {
		table = append(table, httpapi.Route{Method: method, Pattern: path, Open: open, Handler: h.handler(fn)})
	}
	// Public routes are for everyone, api routes for authenticated callers.
	public := func(method, path string, fn func(*call) error) { add(true, method, path, fn) }
	api := func(method, path string, fn func(*call) error) { add(false, method, apiPath+path, fn) }
	secret := func(method, path string, fn func(*call) error) { // about one or more secrets
		api(method, "/orgs/{orgID}/secrets"+path, fn)
		table[len(table)-1].Lenient = true // as in InfluxDB
	}
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

	public(get, "/ping", (*call).ping)
	public(http.MethodOptions, "/ping", (*call).pingOptions)
	public(get, "/health", (*call).health)
	public(get, "/ready", (*call).ready)
	public(get, apiPath, (*call).serveLinks)
	public(get, apiPath+"/swagger.json", (*call).serveDescription)
	public(get, apiPath+"/setup", (*call).setupAllowed)
	public(post, apiPath+"/setup", (*call).setup)
	public(post, apiPath+"/signin", (*call).signIn)
	public(post, apiPath+"/signout", (*call).signOut)

	api(get, "/me", (*call).me)
	api(put, strings.TrimPrefix(ownPasswordPath, apiPath), (*call).changeOwnPassword)
	api(get, "/users", (*call).listUsers)
	api(post, "/users", (*call).createUser)
	api(get, "/users/{userID}", (*call).getUser)
	api(patch, "/users/{userID}", (*call).updateUser)
	api(del, "/users/{userID}", (*call).deleteUser)
	api(post, "/users/{userID}/password", (*call).setPassword)
	api(put, "/users/{userID}/password", (*call).changePassword)

	api(get, "/orgs", (*call).listOrganizations)
	api(post, "/orgs", (*call).createOrganization)
	api(get, "/orgs/{orgID}", (*call).getOrganization)
	api(patch, "/orgs/{orgID}", (*call).updateOrganization)
	api(del, "/orgs/{orgID}", (*call).deleteOrganization)
	for _, role := range []keep.Role{keep.Member, keep.Owner} {
		path := "/orgs/{orgID}/" + string(role) + "s"
		api(get, path, func(c *call) error { return c.listMembers(role) })
		api(post, path, func(c *call) error { return c.addMember(role) })
		api(del, path+"/{userID}", (*call).removeMember)
	}

	secret(get, "", (*call).listSecrets)
	secret(patch, "", (*call).patchSecrets)
	secret(del, "/{secretID}", (*call).deleteSecret)
	secret(post, "/delete", (*call).deleteSecrets)
	// Not in InfluxDB.
	secret(get, "/values", (*call).getValues)
	secret(patch, "/values", (*call).patchValues)
	secret(put, "/values", (*call).putValues)
	secret(get, "/changes", (*call).secretChanges)
	secret(get, "/history", (*call).history)
	secret(get, "/readers", (*call).readers)
	secret(get, "/settings", (*call).getSettings)
	secret(patch, "/settings", (*call).patchSettings)
	secret(post, "/rollback", (*call).rollback)
	secret(post, "/dismiss", (*call).unpin)
	// These words are also valid names of secrets. A longer pattern takes
	// precedence over {secretID}.
	for _, name := range []string{"delete", "values", "changes", "history", "readers", "settings", "rollback", "dismiss"} {
		secret(del, "/"+name, func(c *call) error { return c.deleteNamed(name) })
	}

	api(get, "/authorizations", (*call).listTokens)
	api(post, "/authorizations", (*call).createToken)
	api(get, "/authorizations/uses", (*call).tokenUses) // not in InfluxDB
	api(get, "/authorizations/{authID}", (*call).getToken)
	api(patch, "/authorizations/{authID}", (*call).updateToken)
	api(del, "/authorizations/{authID}", (*call).deleteToken)
	api(get, "/resources", (*call).listResources)
	api(get, "/config", (*call).getConfig)
	// Not in InfluxDB.
	api(get, "/fluxkeep/self", (*call).self)
	api(del, "/fluxkeep/self", (*call).revokeSelf)
	api(get, "/fluxkeep/backup", (*call).backup)
	api(get, "/fluxkeep/keys", (*call).keyStatus)
	api(post, "/fluxkeep/keys/rotate", (*call).rotateKeys)
	api(get, "/fluxkeep/audit", (*call).auditLog)
	api(get, "/fluxkeep/scrub", (*call).scrubStatus)
	api(get, "/fluxkeep/cluster", (*call).clusterStatus)
	api(post, "/fluxkeep/compact", (*call).compact)
	return table
}
