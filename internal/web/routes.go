package web

import "net/http"

// route is a line of the route table.
type route struct {
	method, pattern string
	// open means that the route needs no session.
	open bool
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
	open(get, "/sign-in", (*call).signInPage)
	open(post, "/sign-in", (*call).signIn, "username", "password", "token", "to", carried+"*").limit = largeForm
	open(post, "/sign-out", (*call).signOut)

	page(get, "/session", (*call).checkSession)
	page(get, "/orgs", (*call).organizationsPage)
	org(get, "/secrets", (*call).secretsPage)
	return table
}
