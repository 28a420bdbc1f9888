package web

import "net/http"

// route is a line of the route table.
type route struct {
	method, pattern string
	// open means that the route needs no session.
	open bool
	// peeks means that the page's script asks by itself, again and again, which
	// doesn't extend the session.
	peeks bool
	// fields are the fields that the form of a POST may have, besides those of
	// every form. A field that ends with * may occur several times.
	fields []string
	// limit is the size of the form; 0 is smallForm.
	limit int64
	serve func(*call) error
}

// routes is the route table. A GET renders a page and changes nothing; a POST
// changes something and redirects, or renders the form again with its errors.
func routes() []route {
	var table []route
	open := func(method, path string, serve func(*call) error, fields ...string) *route {
		table = append(table, route{method: method, pattern: "/ui" + path, open: true, fields: fields, serve: serve})
		return &table[len(table)-1]
	}
	page := func(method, path string, serve func(*call) error, fields ...string) *route {
		r := open(method, path, serve, fields...)
		r.open = false
		return r
	}
	// org adds a page of the organization in the path, call.org, to which the
	// caller has access.
	org := func(method, path string, serve func(*call) error, fields ...string) *route {
		return page(method, "/orgs/{org}"+path, serve, fields...)
	}
	const get, post = http.MethodGet, http.MethodPost

	open(get, "", (*call).home)
	open(get, "/assets/{hash}/{file}", (*call).serveAsset)
	open(get, "/setup", (*call).setupPage)
	open(post, "/setup", (*call).setup, "username", "password", "again", "org")
	open(get, "/sign-in", (*call).signInPage)
	open(post, "/sign-in", (*call).signIn, "username", "password", "token", "to", carried+"*").limit = largeForm
	open(post, "/sign-out", (*call).signOut)

	page(get, "/session", (*call).checkSession)
	page(get, "/help", (*call).helpPage)
	page(get, "/orgs", (*call).organizationsPage)
	org(get, "/secrets", (*call).secretsPage)
	org(post, "/secrets", (*call).filterSecrets, "filter", "sort", "page")
	org(get, "/secrets/new", (*call).newSecretPage)
	org(post, "/secrets/new", (*call).newSecret, "name", "value", "crlf", "version", "anyway", "suggested").limit = largeForm
	org(post, "/secrets/delete", (*call).deleteSecrets, "select*", "all", "filter", "confirm", "version", "count")
	org(post, "/secrets/snippets", (*call).copySecrets, "select*", "all", "filter", "version")
	org(get, "/secrets/import", (*call).importPage)
	org(post, "/secrets/import", (*call).importSecrets, "content", "format", "mode", "tag", "digest", "apply").limit = largeForm
	org(get, "/secrets/{ref}", (*call).secretPage)
	org(post, "/secrets/{ref}/value", (*call).value, "version")
	org(post, "/secrets/{ref}/restore", (*call).restoreSecret, "version", "seen")
	org(get, "/secrets/{ref}/edit", (*call).editSecretPage)
	org(post, "/secrets/{ref}/edit", (*call).editSecret, "value", "crlf", "version", "anyway").limit = largeForm

	org(get, "/history", (*call).historyPage)
	org(get, "/history/compare", (*call).comparePage)
	org(get, "/history/{version}", (*call).versionPage)
	org(get, "/history/{version}/restore", (*call).restorePage)
	org(post, "/history/{version}/restore", (*call).restore, "current", "action")

	org(get, "/access", (*call).accessPage)
	org(get, "/access/new", (*call).newTokenPage)
	org(post, "/access/new", (*call).newToken, "recipe", "description", "names", "expires")
	org(get, "/access/{token}", (*call).tokenPage)
	org(post, "/access/{token}/status", (*call).setTokenStatus, "status")
	org(get, "/access/{token}/delete", (*call).deleteTokenPage)
	org(post, "/access/{token}/delete", (*call).deleteToken)
	org(get, "/members", (*call).membersPage)
	org(post, "/members", (*call).addMember, "name", "role")
	org(post, "/members/{user}/remove", (*call).removeMember)
	auditFields := []string{"secret", "action", "outcome", "protocol", "actor", "since", "until", "before"}
	org(get, "/audit", (*call).auditPage)
	org(post, "/audit", (*call).auditPage, auditFields...)

	page(get, "/audit", (*call).auditPage)
	page(post, "/audit", (*call).auditPage, auditFields...)
	page(get, "/users", (*call).usersPage)
	page(post, "/users", (*call).newUser, "name")
	page(get, "/users/{user}", (*call).userPage)
	page(post, "/users/{user}/status", (*call).setUserStatus, "status")
	page(post, "/users/{user}/password", (*call).setUserPassword, "password", "repeat")
	page(get, "/users/{user}/delete", (*call).deleteUserPage)
	page(post, "/users/{user}/delete", (*call).deleteUser)
	page(get, "/server", (*call).serverPage)
	page(get, "/server/progress", (*call).serverProgress).peeks = true
	page(get, "/server/keys", (*call).keysPage)
	page(post, "/server/keys", (*call).rotateKeys)
	page(get, "/server/backup", (*call).backupPage)
	page(post, "/server/backup", (*call).downloadBackup)
	page(get, "/me", (*call).mePage)
	page(post, "/me/password", (*call).changePassword, "old", "password", "repeat")
	page(post, "/me/preferences", (*call).setPreferences, "look", "keys")
	return table
}
