package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// cast is a kit with everybody in a browser of their own.
type cast struct {
	*kit
	people map[string]*browser
	params map[string]string // for the paths of routes
}

// kinds are the columns of the access table.
//
//	nobody    no session
//	stranger  the owner of another organization
//	reader    a token that reads the organization's secrets
//	limited   a token that reads and writes those that begin with b
//	blind     a token that writes the organization's secrets, and can't read them
//	writer    a token that reads and writes the organization's secrets
//	member    a member
//	owner     an owner
//	operator  the first user
var kinds = strings.Fields("nobody stranger reader limited blind writer member owner operator")

func newCast(tb testing.TB, o *keeptest.Options) *cast {
	tb.Helper()
	c := &cast{kit: newKit(tb, o), people: map[string]*browser{}}
	ctx, op := tb.Context(), c.Operator(tb, keep.InfluxDB)
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	user := func(name string, org keep.ID, role keep.Role) keep.ID {
		tb.Helper()
		u, err := c.CreateUser(ctx, op, name, true)
		check(err)
		check(c.SetPassword(ctx, op, u.ID, "battery staple"))
		_, err = c.AddMember(ctx, op, org, u.ID, role)
		check(err)
		c.people[name] = c.browser(tb)
		c.people[name].signIn(name, "battery staple")
		return u.ID
	}
	other, err := c.CreateOrganization(ctx, op, "elsewhere", "")
	check(err)
	c.MustChange(tb, keep.Change{Set: map[string]string{"a": "1", "b1": "2", "gone": "3"}})
	c.MustChange(tb, keep.Change{Set: map[string]string{"a": "2", "b1": "3"}, Remove: []string{"gone"}})
	c.people["nobody"] = c.browser(tb)
	user("stranger", other.ID, keep.Owner)
	user("owner", c.Org, keep.Owner)
	member := user("member", c.Org, keep.Member)
	write := keeptest.WriteSecrets(c.Org)
	c.people["reader"] = c.withToken(tb, keep.NewToken{Permissions: keeptest.ReadSecrets(c.Org)})
	c.people["limited"] = c.withToken(tb, keep.NewToken{Permissions: write, Names: []string{"b*"}})
	c.people["blind"] = c.withToken(tb, keep.NewToken{Permissions: write[2:]})
	c.people["writer"] = c.withToken(tb, keep.NewToken{Permissions: write})
	c.people["operator"] = c.admin(tb)
	token := c.MustToken(tb, keep.NewToken{Permissions: keeptest.ReadSecrets(c.Org), Description: "telegraf"})
	c.params = map[string]string{
		"org": c.Org.String(), "ref": c.ref(tb, "a"), "version": "1", "token": token.ID.String(), "user": member.String(),
		"hash": "0", "file": "app.css",
	}
	return c
}

var param = regexp.MustCompile(`\{(\w+)\}`)

// fill replaces the parameters of a pattern.
func (c *cast) fill(pattern string, change ...string) string {
	return param.ReplaceAllStringFunc(pattern, func(p string) string {
		name := strings.Trim(p, "{}")
		for i := 0; i < len(change); i += 2 {
			if change[i] == name {
				return change[i+1]
			}
		}
		return c.params[name]
	})
}

// clone returns the same cast on a copy of its data. This one is closed.
func (c *cast) clone(tb testing.TB) *cast {
	tb.Helper()
	fresh := *c
	fresh.kit = &kit{Kit: c.Clone(tb)}
	fresh.handler = newHandler(tb, fresh.Kit)
	fresh.people = map[string]*browser{}
	for kind, b := range c.people {
		fresh.people[kind] = b.clone()
		fresh.people[kind].tb, fresh.people[kind].handler = tb, fresh.handler
	}
	return &fresh
}

// access is the access table: a route without /ui, and what each kind of caller is
// answered. Forms are sent without fields.
var access = []struct{ route, want string }{
	//            nob str rea lim bli wri mem own ope
	{"GET ", "all 303"},
	{"GET /assets/{hash}/{file}", "all 404"},
	{"GET /setup", "all 303"},
	{"POST /setup", "all 303"},
	{"GET /sign-in", "200 303 303 303 303 303 303 303 303"},
	{"POST /sign-in", "all 401"},
	{"POST /sign-out", "all 303"},
	{"GET /session", "401 200 200 200 200 200 200 200 200"},
	{"GET /help", "401 200 200 200 200 200 200 200 200"},
	{"GET /orgs", "401 303 303 303 303 303 303 303 200"},
	{"GET /orgs/{org}/secrets", "401 404 200 200 200 200 200 200 200"},
	{"POST /orgs/{org}/secrets", "401 404 200 200 200 200 200 200 200"},
	{"GET /orgs/{org}/secrets/new", "401 404 404 200 200 200 404 200 200"},
	{"POST /orgs/{org}/secrets/new", "401 404 404 422 422 422 404 422 422"},
	{"POST /orgs/{org}/secrets/delete", "401 404 404 303 404 303 404 303 303"},
	{"POST /orgs/{org}/secrets/snippets", "401 404 303 303 404 303 303 303 303"},
	{"GET /orgs/{org}/secrets/import", "401 404 404 200 200 200 404 200 200"},
	{"POST /orgs/{org}/secrets/import", "401 404 404 400 400 400 404 400 400"},
	{"GET /orgs/{org}/secrets/{ref}", "401 404 200 404 404 200 200 200 200"},
	{"POST /orgs/{org}/secrets/{ref}/value", "401 404 200 404 404 200 200 200 200"},
	{"POST /orgs/{org}/secrets/{ref}/restore", "401 404 404 404 404 400 404 400 400"},
	{"GET /orgs/{org}/secrets/{ref}/edit", "401 404 404 404 404 200 404 200 200"},
	{"POST /orgs/{org}/secrets/{ref}/edit", "401 404 404 404 404 422 404 422 422"},
	{"GET /orgs/{org}/history", "401 404 200 200 404 200 200 200 200"},
	{"GET /orgs/{org}/history/compare", "401 404 200 200 404 200 200 200 200"},
	{"GET /orgs/{org}/history/{version}", "401 404 200 200 404 200 200 200 200"},
	{"GET /orgs/{org}/history/{version}/restore", "401 404 404 404 404 200 404 200 200"},
	{"POST /orgs/{org}/history/{version}/restore", "401 404 404 404 404 400 404 400 400"},
	{"GET /orgs/{org}/access", "401 404 404 404 404 404 200 200 200"},
	{"GET /orgs/{org}/access/new", "401 404 404 404 404 404 404 200 200"},
	{"POST /orgs/{org}/access/new", "401 404 404 404 404 404 404 400 400"},
	{"GET /orgs/{org}/access/{token}", "401 404 404 404 404 404 404 404 200"},
	{"POST /orgs/{org}/access/{token}/status", "401 404 404 404 404 404 404 404 400"},
	{"GET /orgs/{org}/access/{token}/delete", "401 404 404 404 404 404 404 404 200"},
	{"POST /orgs/{org}/access/{token}/delete", "401 404 404 404 404 404 404 404 303"},
	{"GET /orgs/{org}/members", "401 404 200 200 404 200 200 200 200"},
	{"POST /orgs/{org}/members", "401 404 404 404 404 404 404 422 422"},
	{"POST /orgs/{org}/members/{user}/remove", "401 404 404 404 404 404 404 303 303"},
	{"GET /orgs/{org}/audit", "401 404 404 404 404 404 404 200 200"},
	{"POST /orgs/{org}/audit", "401 404 404 404 404 404 404 200 200"},
	{"GET /audit", "401 404 404 404 404 404 404 404 200"},
	{"POST /audit", "401 404 404 404 404 404 404 404 200"},
	{"GET /users", "401 404 404 404 404 404 404 404 200"},
	{"POST /users", "401 404 404 404 404 404 404 404 422"},
	{"GET /users/{user}", "401 404 404 404 404 404 404 404 200"},
	{"POST /users/{user}/status", "401 404 404 404 404 404 404 404 400"},
	{"POST /users/{user}/password", "401 404 404 404 404 404 404 404 400"},
	{"GET /users/{user}/delete", "401 404 404 404 404 404 404 404 200"},
	{"POST /users/{user}/delete", "401 404 404 404 404 404 404 404 303"},
	{"GET /server", "401 404 404 404 404 404 404 404 200"},
	{"GET /server/progress", "401 404 404 404 404 404 404 404 200"},
	{"GET /server/keys", "401 404 404 404 404 404 404 404 200"},
	{"POST /server/keys", "401 404 404 404 404 404 404 404 400"},
	{"GET /server/backup", "401 404 404 404 404 404 404 404 200"},
	{"POST /server/backup", "401 404 404 404 404 404 404 404 200"},
	{"GET /me", "401 200 200 200 200 200 200 200 200"},
	{"POST /me/password", "401 403 404 404 404 404 403 403 403"},
	{"POST /me/preferences", "401 303 303 303 303 303 303 303 303"},
}

// TestAccess tries everybody at every route. A refusal is the same as for what doesn't
// exist, byte for byte, and is in the audit log.
func TestAccess(t *testing.T) { newCast(t, nil).tryAll(t) }

func (c *cast) tryAll(t *testing.T) {
	beginning := c
	want := map[string][]string{}
	for _, row := range access {
		if want[row.route] = strings.Fields(row.want); row.want[:3] == "all" {
			want[row.route] = slices.Repeat(strings.Fields(row.want[3:]), len(kinds))
		}
	}
	c = beginning.clone(t)
	combinations := 0
	missing := map[string]*page{}
	for _, kind := range kinds {
		missing[kind] = c.people[kind].get("/ui/nothing")
	}
	for _, r := range c.handler.Routes() {
		route := r.Method + " " + strings.TrimPrefix(r.Pattern, "/ui")
		row, ok := want[route]
		if delete(want, route); !ok {
			t.Errorf("%s is missing from the table", route)
			continue
		}
		for i, kind := range kinds {
			if combinations++; testing.Short() && combinations%5 != 0 {
				continue
			}
			path := c.fill(r.Pattern)
			if strings.HasSuffix(path, "/compare") {
				path += "?old=1&new=0"
			}
			b := c.people[kind]
			_, end := c.AuditRecords(t, 0)
			p := b.do(r.Method, path, "")
			if got := fmt.Sprint(p.status); got != row[i] {
				t.Errorf("%s by %s: %s, want %s: %s", route, kind, got, row[i], p.main())
			}
			if p.status == http.StatusNotFound && !r.Open {
				p.sameAs(t, missing[kind])
			}
			if p.status == http.StatusNotFound && !r.Open {
				if records, _ := c.AuditRecords(t, end); !slices.ContainsFunc(records, func(r audit.Record) bool { return r.Outcome == audit.Refused }) {
					t.Errorf("%s by %s: the refusal isn't in the audit log", route, kind)
				}
			}
			if r.Method == http.MethodPost && p.status < 400 {
				c = beginning.clone(t)
			}
		}
	}
	for route := range want {
		t.Errorf("%s is in the table and not served", route)
	}
}

// TestRecords: a view of a page is one query, with one audit record.
func TestRecords(t *testing.T) {
	c := newCast(t, nil)
	b := c.people["operator"]
	for route, want := range map[string]string{
		"/help": "", "/me": "", "/session": "", "/server/progress": "",
		"/orgs?all":                               "organizations.list",
		"/orgs/{org}/secrets":                     "secrets.list",
		"/orgs/{org}/secrets?sort=read&page=2":    "secrets.list",
		"/orgs/{org}/secrets/new":                 "",
		"/orgs/{org}/secrets/import":              "",
		"/orgs/{org}/secrets/{ref}":               "secrets.history",
		"/orgs/{org}/secrets/{ref}/edit":          "secrets.history",
		"/orgs/{org}/history":                     "secrets.history",
		"/orgs/{org}/history/{version}":           "secrets.history",
		"/orgs/{org}/history/compare?old=1&new=2": "secrets.history",
		"/orgs/{org}/history/{version}/restore":   "secrets.history",
		"/orgs/{org}/access":                      "tokens.list",
		"/orgs/{org}/access/new":                  "",
		"/orgs/{org}/access/{token}":              "tokens.read",
		"/orgs/{org}/access/{token}/delete":       "tokens.read",
		"/orgs/{org}/members":                     "members.list",
		"/orgs/{org}/audit":                       "audit.read",
		"/audit":                                  "audit.read",
		"/users":                                  "users.list",
		"/users/{user}":                           "users.read",
		"/users/{user}/delete":                    "users.read",
		"/server":                                 "server.read",
		"/server/keys":                            "keys.status",
		"/server/backup":                          "server.read",
	} {
		c.wantRecords(t, want, func() *page { return b.get(c.fill("/ui" + route)) })
	}
	list := c.fill("/ui/orgs/{org}/secrets")
	c.wantRecords(t, "secrets.list", func() *page { return b.post(list, "filter", "b") })
	c.wantRecords(t, "secrets.readers", func() *page { return b.post(list+"/delete", "all", "1", "filter", "b") })
	c.wantRecords(t, "secrets.list", func() *page { return b.post(list+"/snippets", "select", c.params["ref"]) })
}

// wantRecords checks which actions a request leaves in the audit log.
func (c *cast) wantRecords(tb testing.TB, want string, send func() *page) {
	tb.Helper()
	_, end := c.AuditRecords(tb, 0)
	p := send()
	records, _ := c.AuditRecords(tb, end)
	var actions []string
	for _, r := range records {
		actions = append(actions, r.Action)
	}
	if got := strings.Join(actions, " "); p.status != http.StatusOK || got != want {
		tb.Errorf("%s: %d, with records of %q, want %q", p.path, p.status, got, want)
	}
}

// sameAs fails unless two answers are the same, but for the random ID of a form.
func (p *page) sameAs(tb testing.TB, other *page) {
	tb.Helper()
	if p.status != other.status || once.ReplaceAllString(p.body, "") != once.ReplaceAllString(other.body, "") {
		tb.Errorf("%s and %s differ: %d %s, and %d %s", p.path, other.path, p.status, p.main(), other.status, other.main())
	}
	for name := range p.header {
		if name != "Vary" && strings.Join(p.header[name], "\n") != strings.Join(other.header[name], "\n") {
			tb.Errorf("%s and %s differ in %s: %q, and %q", p.path, other.path, name, p.header[name], other.header[name])
		}
	}
}
