package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// send sends a request with a token and decodes the answer into out, if it isn't nil.
func (w *world) send(t *testing.T, token, method, path, body string, into any) (status int, answer string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Token "+token)
	got := w.ask(r)
	if into != nil && got.Code < 300 {
		if err := json.Unmarshal(got.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	return got.Code, got.Body.String()
}

// TestOwnerStaysInOrganization checks that the owner of an organization can't create
// tokens that name users, tokens and organizations of others. Resources that don't
// exist get the same answer, and a stored token of that kind has no effect.
func TestOwnerStaysInOrganization(t *testing.T) {
	w := newWorld(t)
	stranger := w.people[slices.IndexFunc(w.people, func(p person) bool { return p.name == "another organization's owner" })]
	tokens, err := w.Tokens(t.Context(), w.Operator(t, keep.InfluxDB), keep.TokenFilter{ID: stranger.token})
	if err != nil {
		t.Fatal(err)
	}
	org := tokens[0].Org
	operator := w.MustCaller(t, keep.InfluxDB, w.OperatorToken).Token

	const absent keep.ID = 0xdeadbeef
	for _, target := range []struct {
		kind  acl.Type
		id    keep.ID
		calls []string // that the permission would allow
	}{
		{acl.Users, w.Admin, []string{
			`POST /api/v2/users/{id}/password {"password":"12345678"}`, `PATCH /api/v2/users/{id} {"name":"x"}`,
			"GET /api/v2/users/{id}", "DELETE /api/v2/users/{id}",
		}},
		{acl.Authorizations, operator, []string{
			"GET /api/v2/authorizations/{id}", `PATCH /api/v2/authorizations/{id} {"status":"inactive"}`, "DELETE /api/v2/authorizations/{id}",
		}},
		{acl.Authorizations, w.token, []string{"GET /api/v2/authorizations/{id}", "DELETE /api/v2/authorizations/{id}"}},
		{acl.Orgs, w.org, []string{
			"GET /api/v2/orgs/{id}", `PATCH /api/v2/orgs/{id} {"name":"x"}`, "GET /api/v2/orgs/{id}/members", "DELETE /api/v2/orgs/{id}",
		}},
	} {
		t.Run(fmt.Sprintf("%s/%s", target.kind, target.id), func(t *testing.T) {
			for _, orgID := range []keep.ID{0, org, w.org} {
				make := func(id keep.ID) (int, string) {
					var set []string
					for _, action := range acl.Actions() {
						in := ""
						if orgID != 0 {
							in = fmt.Sprintf(`,"orgID":%q`, orgID)
						}
						set = append(set, fmt.Sprintf(`{"action":%q,"resource":{"type":%q,"id":%q%s}}`, action, target.kind, id, in))
					}
					status, body := w.send(t, stranger.value, "POST", "/api/v2/authorizations",
						fmt.Sprintf(`{"orgID":%q,"permissions":[%s]}`, org, strings.Join(set, ",")), nil)
					return status, strings.ReplaceAll(body, "/"+id.String()+" ", "/ID ")
				}
				status, body := make(target.id)
				if status != http.StatusForbidden {
					t.Errorf("a token for %s in organization %s: %d %s", target.kind, orgID, status, body)
				}
				if s, b := make(absent); s != status || b != body {
					t.Errorf("for what exists %d %s, for what doesn't %d %s", status, body, s, b)
				}
			}

			// An existing token grants no more than its creator had.
			made := w.MustToken(t, keep.NewToken{Org: org, User: stranger.user, Permissions: acl.Owner(org)})
			r := acl.Resource{Type: target.kind, ID: target.id, OrgID: org}
			w.Plant(t, made.ID, slices.Concat(acl.Owner(org), acl.Self(stranger.user), acl.Set{{Action: acl.Read, Resource: r}, {Action: acl.Write, Resource: r}}))
			before := w.Contents(t)
			for _, call := range target.calls {
				method, rest, _ := strings.Cut(call, " ")
				path, body, _ := strings.Cut(rest, " ")
				path = strings.ReplaceAll(path, "{id}", target.id.String())
				status, answer := w.send(t, made.Value, method, path, body, nil)
				if want, refusal := w.send(t, stranger.value, method, path, body, nil); status < 400 || status != want || answer != refusal {
					t.Errorf("%s: %d %s; to the maker %d %s", call, status, answer, want, refusal)
				}
			}
			if w.changed(t, before) {
				t.Error("the store has changed")
			}
			w.mustName(t, made.ID)
		})
	}
}

// mustName checks that a token with a misplaced permission is reported, also at start.
func (w *world) mustName(t *testing.T, token keep.ID) {
	t.Helper()
	report, err := keep.Check(t.Context(), w.Store(), w.Keys(), nil, func(d keep.Damage) { t.Errorf("%s: %v", d.What, d.Err) })
	if err != nil || !slices.Contains(report.Misplaced, token) {
		t.Errorf("Check names %v, %v, and not %v", report.Misplaced, err, token)
	}
}

// TestStartNamesMisplaced checks that the log names exactly the tokens with a misplaced
// permission at start.
func TestStartNamesMisplaced(t *testing.T) {
	w := newWorld(t)
	bad := w.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(w.org)})
	good := w.MustToken(t, keep.NewToken{Permissions: append(acl.Owner(w.org), acl.Self(w.Admin)...)})
	w.Plant(t, bad.ID, acl.Set{{Action: acl.Write, Resource: acl.Resource{Type: acl.Users, ID: w.Admin, OrgID: w.org}}})
	w.log.Reset()
	w.Reopen(t)
	eventually(t, "the token is named", func() bool { return strings.Contains(w.log.String(), bad.ID.String()) })
	w.Close(t)
	log := w.log.String()
	if !strings.Contains(log, keep.MisplacedPermission) || strings.Contains(log, good.ID.String()) {
		t.Errorf("the log is %s", log)
	}
	if text := w.leak(log); text != "" || strings.Contains(log, bad.Value) {
		t.Errorf("the log has a token: %s", log)
	}
}
