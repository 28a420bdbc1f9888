package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/race"
)

// access is a row of the access table: a route, a request body, and the status that
// the callers of each column get.
type access struct {
	// route is a line of a protocol's route table. Vault's routes have no prefix,
	// since /v1/ and /influxd/v1/ give the same answers. A variation may follow:
	//
	//	(own)      the path has the caller's own user or token
	//	(token)    only tokens are tried
	//	(session)  only sessions are tried, together with the old password
	route string
	body  string
	// want has a status for each column: "-" where there is no caller to try, and
	// "none" for the 404 that is Vault's empty list. "all 200" is short for the
	// same status in each column.
	want string
	// free says that the answer reveals nothing, so the request isn't recorded.
	free bool
}

// columns are the kinds of callers, which world.populate creates. All callers of a
// column must get the same answer.
//
//	unknown   no credential; a wrong, expired or ended token or session;
//	          a login token whose parent is deleted, inactive or expired
//	inactive  an inactive operator token
//	gone      a token or a session of a deleted or inactive user
//	stranger  the owner of another organization, with token and session
//	reader    a token that reads the organization's secrets
//	limited   a token that reads and writes the secrets whose names begin with b
//	writer    a token that reads and writes the organization's secrets
//	login     the writer's login token
//	member    a member's token and session
//	owner     an owner's token and session
//	operator  an operator token, and the session of the instance's owner
var columns = strings.Fields("unknown inactive gone stranger reader limited writer login member owner operator")

// influxAccess is the table for InfluxDB's protocol.
//
// Requests for parts of an organization that the caller can't read answer "not
// found". Lists contain what the caller can read, which may be nothing.
func influxAccess() []access {
	const version = `{"version":1}`
	const permission = `{"orgID":"{orgID}","permissions":[{"action":"read","resource":{"type":"secrets","orgID":"{orgID}"}}]}`
	return []access{
		//                                                  unk ina gon str rea lim wri log mem own ope
		{"GET /ping", "", "all 204", true},
		{"OPTIONS /ping", "", "all 200", true},
		{"GET /health", "", "all 200", true},
		{"GET /ready", "", "all 200", true},
		{"GET /metrics", "", "all 200", true},
		{"GET /api/v2", "", "all 200", true},
		{"GET /api/v2/swagger.json", "", "all 200", true},
		{"GET /api/v2/setup", "", "all 200", true},
		{"POST /api/v2/setup", `{"username":"x","org":"x","bucket":"x"}`, "all 422", false},
		{"POST /api/v2/signin", "", "all 401", false},
		{"POST /api/v2/signout (token)", "", "all 401", false},
		{"POST /api/v2/signout (session)", "", "401 - 204 204 - - - - 204 204 204", false},

		{"GET /api/v2/me", "", "401 401 403 200 401 401 401 401 200 200 200", false},
		{"PUT /api/v2/me/password (token)", `{"password":"12345678"}`, "401 400 403 400 400 400 400 400 400 400 400", true},
		{"PUT /api/v2/me/password (session)", `{"password":"12345678"}`, "401 - 403 204 - - - - 204 204 204", false},
		{"GET /api/v2/users", "", "401 200 403 200 200 200 200 200 200 200 200", false},
		{"POST /api/v2/users", `{"name":"x"}`, "401 401 403 401 401 401 401 401 401 401 201", false},
		{"GET /api/v2/users/{userID}", "", "401 401 403 401 401 401 401 401 401 401 200", false},
		{"GET /api/v2/users/{userID} (own)", "", "401 401 403 200 401 401 401 401 200 200 200", false},
		{"PATCH /api/v2/users/{userID}", `{"name":"x"}`, "401 401 403 401 401 401 401 401 401 401 200", false},
		{"PATCH /api/v2/users/{userID} (own)", `{"name":"x"}`, "401 401 403 200 401 401 401 401 200 200 200", false},
		{"DELETE /api/v2/users/{userID}", "", "401 401 403 401 401 401 401 401 401 401 204", false},
		{"DELETE /api/v2/users/{userID} (own)", "", "401 401 403 204 401 401 401 401 204 204 204", false},
		{"POST /api/v2/users/{userID}/password", `{"password":"12345678"}`, "401 401 403 401 401 401 401 401 401 401 204", false},
		{"POST /api/v2/users/{userID}/password (own)", `{"password":"12345678"}`, "401 401 403 204 401 401 401 401 204 204 204", false},
		{"PUT /api/v2/users/{userID}/password (token)", `{"password":"12345678"}`, "401 400 403 400 400 400 400 400 400 400 400", true},
		{"PUT /api/v2/users/{userID}/password (session)", `{"password":"12345678"}`, "401 - 403 401 - - - - 401 401 403", false},

		{"GET /api/v2/orgs", "", "401 200 403 200 200 200 200 200 200 200 200", false},
		{"POST /api/v2/orgs", `{"name":"x"}`, "401 401 403 401 401 401 401 401 401 401 201", false},
		{"GET /api/v2/orgs/{orgID}", "", "401 401 403 401 200 200 200 200 200 200 200", false},
		{"PATCH /api/v2/orgs/{orgID}", `{"name":"x"}`, "401 401 403 401 401 401 401 401 401 200 200", false},
		{"DELETE /api/v2/orgs/{orgID}", "", "401 401 403 401 401 401 401 401 401 204 204", false},
		{"GET /api/v2/orgs/{orgID}/members", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"POST /api/v2/orgs/{orgID}/members", `{"id":"{userID}"}`, "401 404 403 404 401 401 401 401 401 404 201", false},
		{"DELETE /api/v2/orgs/{orgID}/members/{userID}", "", "401 404 403 404 401 401 401 401 401 204 204", false},
		{"GET /api/v2/orgs/{orgID}/owners", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"POST /api/v2/orgs/{orgID}/owners", `{"id":"{userID}"}`, "401 404 403 404 401 401 401 401 401 404 201", false},
		{"DELETE /api/v2/orgs/{orgID}/owners/{userID}", "", "401 404 403 404 401 401 401 401 401 204 204", false},

		{"GET /api/v2/orgs/{orgID}/secrets", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"PATCH /api/v2/orgs/{orgID}/secrets", `{"a":"x"}`, "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/{secretID}", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"POST /api/v2/orgs/{orgID}/secrets/delete", `{"secrets":["a"]}`, "401 404 403 404 401 403 204 204 401 204 204", false},
		{"GET /api/v2/orgs/{orgID}/secrets/values", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"PATCH /api/v2/orgs/{orgID}/secrets/values", `{"a":"x"}`, "401 404 403 404 401 403 200 200 401 200 200", false},
		{"PUT /api/v2/orgs/{orgID}/secrets/values", `{"a":"x"}`, "401 404 403 404 401 403 200 200 401 200 200", false},
		{"GET /api/v2/orgs/{orgID}/secrets/history", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"GET /api/v2/authorizations/uses", "", "401 200 403 200 200 200 200 200 200 200 200", false},
		{"GET /api/v2/orgs/{orgID}/secrets/readers", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"GET /api/v2/orgs/{orgID}/secrets/changes", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"GET /api/v2/orgs/{orgID}/secrets/settings", "", "401 404 403 404 200 200 200 200 200 200 200", false},
		{"PATCH /api/v2/orgs/{orgID}/secrets/settings", `{"maxVersions":5}`, "401 404 403 404 401 403 204 204 401 204 204", false},
		{"POST /api/v2/orgs/{orgID}/secrets/rollback", version, "401 404 403 404 401 403 200 200 401 200 200", false},
		{"POST /api/v2/orgs/{orgID}/secrets/dismiss", version, "401 404 403 404 401 403 204 204 401 204 204", false},
		// Secrets with the names of the routes above.
		{"DELETE /api/v2/orgs/{orgID}/secrets/delete", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/values", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/history", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/readers", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/changes", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/settings", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/rollback", "", "401 404 403 404 401 403 204 204 401 204 204", false},
		{"DELETE /api/v2/orgs/{orgID}/secrets/dismiss", "", "401 404 403 404 401 403 204 204 401 204 204", false},

		{"GET /api/v2/authorizations", "", "401 200 403 200 200 200 200 200 200 200 200", false},
		{"POST /api/v2/authorizations", permission, "401 401 403 401 401 401 401 401 401 201 201", false},
		{"GET /api/v2/authorizations/{authID}", "", "401 401 403 404 404 404 404 404 404 404 200", false},
		{"GET /api/v2/authorizations/{authID} (own)", "", "401 401 403 200 401 401 401 404 200 200 200", false},
		{"PATCH /api/v2/authorizations/{authID}", `{"description":"x"}`, "401 401 403 404 404 404 404 404 404 404 200", false},
		{"PATCH /api/v2/authorizations/{authID} (own)", `{"description":"x"}`, "401 401 403 200 401 401 401 404 401 200 200", false},
		{"DELETE /api/v2/authorizations/{authID}", "", "401 401 403 404 404 404 404 404 404 404 204", false},
		{"DELETE /api/v2/authorizations/{authID} (own)", "", "401 401 403 204 401 401 401 404 401 204 204", false},
		{"GET /api/v2/resources", "", "401 200 403 200 200 200 200 200 200 200 200", true},

		{"GET /api/v2/config", "", "401 401 403 401 401 401 401 401 401 401 200", false},
		{"GET /api/v2/fluxkeep/self", "", "401 401 403 200 200 200 200 200 200 200 200", false},
		{"DELETE /api/v2/fluxkeep/self (token)", "", "401 401 403 204 204 204 204 204 204 204 204", false},
		{"DELETE /api/v2/fluxkeep/self (session)", "", "401 - 403 401 - - - - 401 401 401", false},
		{"GET /api/v2/fluxkeep/backup", "", "401 401 403 401 401 401 401 401 401 401 200", false},
		{"GET /api/v2/fluxkeep/keys", "", "401 401 403 401 401 401 401 401 401 401 200", false},
		{"POST /api/v2/fluxkeep/keys/rotate", "", "401 401 403 401 401 401 401 401 401 401 202", false},
		{"GET /api/v2/fluxkeep/audit", "", "401 401 403 200 401 401 401 401 401 200 200", false},
		{"GET /api/v2/fluxkeep/audit (?orgID={orgID})", "", "401 401 403 404 401 401 401 401 401 200 200", false},
		{"GET /api/v2/fluxkeep/scrub", "", "401 401 403 401 401 401 401 401 401 401 200", false},
		{"GET /api/v2/fluxkeep/cluster", "", "401 401 403 401 401 401 401 401 401 401 200", false},
		{"POST /api/v2/fluxkeep/compact", "", "401 401 403 401 401 401 401 401 401 401 204", false},
	}
}

// vaultAccess is the table for Vault's protocol, at both addresses. Every refusal is
// "permission denied".
func vaultAccess() []access {
	const data, versions, settings = `{"data":{"a":"x"}}`, `{"versions":[1]}`, `{"max_versions":5}`
	const paths = `{"paths":["secret/data/{org...}"]}`
	const (
		known  = "403 200 403 200 200 200 200 200 200 200 200"
		read   = "403 403 403 403 200 200 200 200 200 200 200"
		write  = "403 403 403 403 403 403 200 200 403 200 200"
		change = "403 403 403 403 403 403 204 204 403 204 204"
		none   = "403 none 403 none none none none none none none none"
	)
	return []access{
		//                                      unk ina gon str rea lim wri log mem own ope
		{"GET secret/data/{org...}", "", read, false},
		{"POST secret/data/{org...}", data, write, false},
		{"PUT secret/data/{org...}", data, write, false},
		{"PATCH secret/data/{org...}", data, write, false},
		{"DELETE secret/data/{org...}", "", change, false},
		{"GET secret/subkeys/{org...}", "", read, false},
		{"POST secret/delete/{org...}", versions, change, false},
		{"PUT secret/delete/{org...}", versions, change, false},
		{"POST secret/undelete/{org...}", versions, change, false},
		{"PUT secret/undelete/{org...}", versions, change, false},
		{"POST secret/destroy/{org...}", versions, change, false},
		{"PUT secret/destroy/{org...}", versions, change, false},
		{"LIST secret/metadata", "", "403 403 403 none 200 200 200 200 200 200 200", false},
		{"LIST secret/metadata/{org...}", "", "403 403 403 403 none none none none none none none", false},
		{"SCAN secret/metadata", "", "403 403 403 200 200 200 200 200 200 200 200", false},
		{"SCAN secret/metadata/{org...}", "", read, false},
		{"GET secret/metadata/{org...}", "", read, false},
		{"POST secret/metadata/{org...}", settings, change, false},
		{"PUT secret/metadata/{org...}", settings, change, false},
		{"PATCH secret/metadata/{org...}", settings, change, false},
		{"DELETE secret/metadata/{org...}", "", change, false},
		{"GET secret/config", "", known, true},
		{"GET secret/data", "", none, true},
		{"GET secret/subkeys", "", none, true},
		{"GET secret/delete", "", none, true},
		{"GET secret/undelete", "", none, true},
		{"GET secret/destroy", "", none, true},
		{"GET secret/metadata", "", none, true},

		{"POST auth/approle/login", `{"role_id":"x","secret_id":"y"}`, "all 400", false},
		{"PUT auth/approle/login", `{"role_id":"x","secret_id":"y"}`, "all 400", false},
		{"POST auth/token/create", "", "403 403 403 200 200 200 200 200 200 200 200", false},
		{"PUT auth/token/create", `{"ttl":"20m"}`, "403 403 403 200 200 200 200 200 200 200 200", false},
		{"POST auth/token/lookup", "", "403 403 403 200 200 200 200 200 200 200 200", false},
		{"PUT auth/token/lookup", `{"token":"x"}`, "all 403", false},
		{"POST auth/token/lookup-accessor", `{"accessor":"{authID}"}`, "403 403 403 403 403 403 403 403 403 403 200", false},
		{"PUT auth/token/lookup-accessor", `{"accessor":"{authID}"}`, "403 403 403 403 403 403 403 403 403 403 200", false},
		{"PUT auth/token/lookup-accessor (own)", `{"accessor":"{authID}"}`, "403 403 403 200 200 200 200 200 200 200 200", false},
		{"GET auth/token/lookup-self", "", "403 403 403 200 200 200 200 200 200 200 200", false},
		{"POST auth/token/lookup-self", "", "403 403 403 200 200 200 200 200 200 200 200", false},
		{"PUT auth/token/lookup-self", "", "403 403 403 200 200 200 200 200 200 200 200", false},
		{"POST auth/token/renew-self", "", "403 403 403 400 400 400 400 200 400 400 400", false},
		{"PUT auth/token/renew-self", "", "403 403 403 400 400 400 400 200 400 400 400", false},
		{"POST auth/token/revoke-self", "", "403 403 403 204 204 204 204 204 204 204 204", false},
		{"PUT auth/token/revoke-self", "", "403 403 403 204 204 204 204 204 204 204 204", false},

		{"GET sys/health", "", "all 200", true},
		{"HEAD sys/health", "", "all 200", true},
		{"GET sys/seal-status", "", "all 200", true},
		{"GET sys/init", "", "all 200", true},
		{"GET sys/leader", "", "all 200", true},
		{"GET sys/mounts", "", known, true},
		{"GET sys/mounts/{path...}", "", known, true},
		{"GET sys/auth", "", known, true},
		{"GET sys/auth/{path...}", "", known, true},
		{"GET sys/internal/ui/mounts", "", known, true},
		{"GET sys/internal/ui/mounts/{path...}", "", known, true},
		{"POST sys/capabilities-self", paths, known, true},
		{"PUT sys/capabilities-self", paths, known, true},
	}
}

// name and variation are the two parts of a row's route.
func (a *access) name() string { name, _, _ := strings.Cut(a.route, " ("); return name }

func (a *access) variation() string {
	_, v, _ := strings.Cut(a.route, " (")
	return strings.TrimSuffix(v, ")")
}

// status returns the status for a column, or 0 if its callers aren't tried. empty
// says that it stands for an empty list rather than a refusal.
func (a *access) status(t testing.TB, column string) (status int, empty bool) {
	t.Helper()
	text, all := strings.CutPrefix(a.want, "all ")
	if fields := strings.Fields(a.want); !all && len(fields) != len(columns) {
		t.Fatalf("%s has %d columns, want %d", a.route, len(fields), len(columns))
	} else if !all {
		text = fields[slices.Index(columns, column)]
	}
	switch text {
	case "-":
		return 0, false
	case "none":
		return http.StatusNotFound, true
	}
	status, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return status, false
}

// at returns the row for one of the two prefixes of Vault's protocol.
func (a access) at(prefix string) access {
	method, rest, _ := strings.Cut(a.route, " ")
	a.route = method + " " + prefix + rest
	return a
}

// table returns the whole table, by protocol.
func table() map[string][]access {
	all := map[string][]access{"influxdb": influxAccess()}
	for _, row := range vaultAccess() {
		all["vault"] = append(all["vault"], row.at("/v1/"))
		all["influxd"] = append(all["influxd"], row.at("/influxd/v1/"))
	}
	return all
}

func rows() []access {
	all := table()
	return slices.Concat(all["influxdb"], all["vault"], all["influxd"])
}

// TestAccessIsComplete checks that every route of every protocol has a row, and every
// row a route. The web page has a table of its own, in its package.
func TestAccessIsComplete(t *testing.T) {
	w := newWorld(t)
	routes := map[string]bool{"GET " + metricsPath: true} // belongs to no protocol
	for _, p := range []protocol{w.handler.influx, w.handler.vault} {
		for _, r := range p.Routes() {
			routes[r.Method+" "+r.Pattern] = true
		}
	}
	inTable := map[string]bool{}
	for _, row := range rows() {
		inTable[row.name()] = true
		if !routes[row.name()] {
			t.Errorf("%s is in the table and not served", row.route)
		}
	}
	for route := range routes {
		if !inTable[route] {
			t.Errorf("%s is served but missing from the table", route)
		}
	}
	seen := map[string]bool{}
	for _, p := range w.people {
		seen[p.column] = true
	}
	for _, column := range columns {
		if !seen[column] {
			t.Errorf("nobody is in the column %s", column)
		}
	}
}

// TestAccess tries every caller at every route. A refused request changes nothing,
// reveals nothing, not even what exists, and is in the audit log.
func TestAccess(t *testing.T) {
	race.SkipSequential(t)
	beginning := newWorld(t)
	for protocol, rows := range table() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			beginning.tryAll(t, rows)
		})
	}
}

// tryAll tries every caller at the given rows, each time in a fresh world. In short mode,
// it tries a tenth of the combinations.
func (w *world) tryAll(t *testing.T, rows []access) {
	beginning, w := w, w.clone(t)
	combinations, tried, refused := 0, 0, 0
	for _, row := range rows {
		for _, p := range beginning.people {
			if row.skips(&p) {
				continue
			}
			column := p.column
			if p.session && strings.Contains(row.route, "/v1/") {
				column = "unknown" // Vault's protocol has no sessions
			}
			want, empty := row.status(t, column)
			if want == 0 {
				continue
			}
			if combinations++; testing.Short() && combinations%10 != 0 {
				continue
			}
			tried++
			if want >= 400 && !empty {
				refused++
			}
			w.Clock.Advance(row.pause())
			// An allowed operation may continue in the background.
			if changed := w.try(t, row, &p, want, empty); changed || want < 300 && !row.reads() {
				w.forget(t)
				w = beginning.clone(t)
			}
		}
	}
	if text := w.leak(w.log.String()); text != "" {
		t.Errorf("the log has %s", text)
	}
	t.Logf("%d rows, %d requests, %d of them refused", len(rows), tried, refused)
}

// pause is how far the clock moves before each request, since attempts to sign in
// are limited.
func (a *access) pause() time.Duration {
	if strings.HasSuffix(a.route, "/login") {
		return 6 * time.Second
	}
	return 0
}

func (a *access) reads() bool {
	method, _, _ := strings.Cut(a.route, " ")
	return slices.Contains([]string{"GET", "LIST", "SCAN", "OPTIONS"}, method)
}

func (a *access) skips(p *person) bool {
	switch a.variation() {
	case "token":
		return p.session
	case "session":
		return !p.session
	}
	return false
}

// request returns a row's request as a caller sends it.
func (a *access) request(w *world, p *person, replace *strings.Replacer) *http.Request {
	method, pattern, _ := strings.Cut(a.name(), " ")
	if query := a.variation(); strings.HasPrefix(query, "?") {
		pattern += query
	}
	r := httptest.NewRequest(method, replace.Replace(pattern), strings.NewReader(replace.Replace(a.body)))
	if method == http.MethodPatch && strings.Contains(pattern, "/v1/") {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	p.show(r)
	if a.variation() == "session" {
		password := worldPassword
		if p.user == w.Admin {
			password = w.Password
		}
		r.SetBasicAuth("", password)
	}
	return r
}

// try sends a row's request and reports whether the store has changed.
func (w *world) try(t *testing.T, row access, p *person, want int, empty bool) (changed bool) {
	t.Helper()
	user, token := w.user, w.token
	if row.variation() == "own" {
		user, token = p.user, p.token
	}
	there := w.placeholders(w.org, user, token)
	before := w.Contents(t)
	_, end := w.AuditRecords(t, 0)
	answer := w.ask(row.request(w, p, there))
	body := answer.Body.String()
	changed = w.changed(t, before)
	records, _ := w.AuditRecords(t, end)
	records = slices.DeleteFunc(records, func(r audit.Record) bool { return r.Request != answer.Header().Get("X-Request-Id") })
	report := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s by %s: %s", row.route, p.name, fmt.Sprintf(format, args...))
	}
	if answer.Code != want {
		report("answered %d %s, want %d", answer.Code, body, want)
		return changed
	}
	if want < 400 || empty {
		if !row.free && !slices.ContainsFunc(records, func(r audit.Record) bool { return r.Outcome == audit.Allowed }) {
			report("allowed, and not in the audit log")
		}
		own := p.name == reachingOwner && (strings.Contains(row.route, "/authorizations") || strings.Contains(row.route, "/self"))
		if (p.column == "stranger" || p.column == "inactive") && !row.free && !own {
			for _, text := range []string{w.org.String(), w.user.String(), w.token.String(), "acme", worldValue} {
				if strings.Contains(body, text) {
					report("the response reveals %s: %s", text, body)
				}
			}
		}
		return changed
	}
	if changed {
		report("refused with %d, and the store is not what it was", want)
	}
	if text := w.leak(body); text != "" {
		report("the refusal has %s", text)
	}
	switch want {
	case 401, 403, 404:
	default:
		return changed // it isn't the caller that is refused
	}
	if want != 404 || !row.free {
		if len(records) == 0 || slices.ContainsFunc(records, func(r audit.Record) bool { return r.Outcome != audit.Refused }) {
			report("the records of the refusal are %+v", records)
		}
	}
	if p.column == "operator" || row.variation() == "own" {
		return changed // this caller knows that it exists
	}
	// A request for a missing object gets the same answer. Callers who can read an
	// organization may know that it and its tokens exist.
	const absent keep.ID = 0xdeadbeef
	org := w.org
	if !w.readsOrg(p) {
		org, token = absent, absent
	}
	gone := w.ask(row.request(w, p, w.placeholders(org, absent, token)))
	anonymous := strings.NewReplacer(w.org.String(), "ID", w.user.String(), "ID", w.token.String(), "ID", absent.String(), "ID")
	body, got := anonymous.Replace(body), anonymous.Replace(gone.Body.String())
	if gone.Code != want || got != body {
		report("for what is there %d %s, for what is not %d %s", want, body, gone.Code, got)
	}
	return changed
}

func (w *world) readsOrg(p *person) bool {
	return !slices.Contains([]string{"unknown", "inactive", "gone", "stranger"}, p.column)
}

// placeholders replaces the names in braces in paths and bodies.
func (w *world) placeholders(org, user, token keep.ID) *strings.Replacer {
	return strings.NewReplacer("{orgID}", org.String(), "{userID}", user.String(), "{authID}", token.String(),
		"{secretID}", "a", "{org...}", org.String(), "sys/auth/{path...}", "sys/auth/token", "{path...}", "secret/data/"+org.String())
}

// TestOpenRoutesReadLittle checks that strangers can't make the server hold long
// bodies.
func TestOpenRoutesReadLittle(t *testing.T) {
	w := newWorld(t)
	nobody := person{}
	long := `{"x":"` + strings.Repeat("x", 80<<10) + `"}`
	reads := 0
	for _, p := range []protocol{w.handler.influx, w.handler.vault} {
		for _, route := range p.Routes() {
			if !route.Open || route.Method != http.MethodPost && route.Method != http.MethodPut || strings.Contains(route.Pattern, "/sign") {
				continue // signing in and out have no body
			}
			reads++
			row := access{route: route.Method + " " + route.Pattern, body: long}
			if got := w.ask(row.request(w, &nobody, w.placeholders(w.org, w.user, w.token))); got.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("%s reads %d bytes from a stranger: %d", row.route, len(long), got.Code)
			}
		}
	}
	if reads != 5 {
		t.Errorf("%d open routes read a body", reads)
	}
}
