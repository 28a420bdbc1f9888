package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// holdings is everything that the attacker must not be able to change.
func (x *tenants) holdings() string {
	x.t.Helper()
	var all strings.Builder
	for _, path := range []string{
		"/api/v2/orgs", "/api/v2/users", "/api/v2/authorizations", "/api/v2/orgs/" + x.orgID + "/secrets/values",
		"/api/v2/orgs/" + x.orgID + "/members", "/api/v2/orgs/" + x.orgID + "/owners", "/v1/secret/metadata/" + x.orgID,
	} {
		a := x.must(200, x.ask("GET", path, x.token, nil))
		all.WriteString(varying.ReplaceAllString(a.body, "") + "\n")
	}
	return all.String()
}

// varying matches the parts in which equal answers may differ.
var varying = regexp.MustCompile(`"request_id":"[^"]*"`)

// TestAttackRights checks that nobody gains a right that nobody granted, and that
// no refusal reveals what exists.
func TestAttackRights(t *testing.T) {
	long(t, "attacks take minutes")
	t.Run("an owner wants to be operator", attackByOwner)
	t.Run("a name wants to be an ID", attackByName)
	t.Run("a path means more than it names", attackByPath)
	t.Run("a limit is misspelt", attackByMisspelling)
	t.Run("a limited token outgrows its limits", attackByLimited)
	t.Run("a limited token looks for hidden names", attackHiddenNames)
	t.Run("a writer tests guesses", attackByGuessing)
	t.Run("a stranger looks for what exists", attackExistence)
	t.Run("an empty or malformed credential", attackWithoutCredential)
	t.Run("a session from elsewhere", attackBySession)
	t.Run("setup again", attackBySetup)
}

// TestAttackRightsEtcd is TestAttackRights with the store in etcd.
func TestAttackRightsEtcd(t *testing.T) {
	long(t, "attacks take minutes")
	t.Setenv(attackedStoreVariable, "etcd")
	TestAttackRights(t)
}

// attackByOwner creates tokens with all combinations of type, ID and organization,
// alone and in pairs, and tries operations that only the operator is allowed.
func attackByOwner(t *testing.T) {
	x := startTenants(t)
	var single []object
	for _, typ := range []string{"users", "authorizations", "orgs", "secrets", "instance", "buckets"} {
		for _, id := range []string{"", x.operatorID, x.operatorToken, x.orgID, x.attackerID, x.attackerOrg, absentID} {
			for _, org := range []string{"", x.orgID, x.attackerOrg, absentID} {
				single = append(single, both(typ, id, org)...)
			}
		}
	}
	before := x.refusals()
	refused := 0
	tokens := map[string]string{"the owner's token": x.attackerToken}
	try := func(name string, permissions []object, more object) {
		body := object{"orgID": x.attackerOrg, "permissions": permissions}
		maps.Copy(body, more)
		switch a := x.ask("POST", "/api/v2/authorizations", x.attackerToken, body); {
		case a.ok():
			tokens[name] = x.confide(a.field("token"))
		case a.status == 401 || a.status == 403:
			refused++
		default:
			t.Errorf("%v, with %s", a, name)
		}
	}
	for _, p := range single {
		try(fmt.Sprint(p), []object{p}, nil)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		two := []object{single[rng.IntN(len(single))], single[rng.IntN(len(single))]}
		try(fmt.Sprint(two), two, nil)
	}
	try("in the operator's name", both("secrets", "", x.attackerOrg), object{"userID": x.operatorID})
	try("in another organization", both("secrets", "", x.attackerOrg), object{"orgID": x.orgID})
	x.stop() // records the pending counts
	if n := x.refusals() - before; n != refused {
		t.Errorf("%d tokens were refused, and the audit log has %d refusals", refused, n)
	}
	x.again()
	want := x.holdings()
	for name, token := range tokens {
		for _, r := range []struct {
			method, path string
			body         any
		}{
			{"POST", "/api/v2/users/" + x.operatorID + "/password", object{"password": "battery staple"}},
			{"PATCH", "/api/v2/users/" + x.operatorID, object{"status": "inactive"}},
			{"GET", "/api/v2/authorizations/" + x.operatorToken, nil},
			{"PATCH", "/api/v2/authorizations/" + x.operatorToken, object{"status": "inactive"}},
			{"DELETE", "/api/v2/authorizations/" + x.operatorToken, nil},
			{"GET", "/api/v2/orgs/" + x.orgID + "/secrets/values", nil},
			{"GET", "/v1/secret/data/" + x.orgID, nil},
			{"PATCH", "/api/v2/orgs/" + x.orgID, object{"name": "mine"}},
			{"POST", "/api/v2/orgs/" + x.orgID + "/owners", object{"id": x.attackerID}},
			{"GET", "/api/v2/fluxkeep/backup", nil},
			{"POST", "/api/v2/users", object{"name": "more"}},
			{"POST", "/api/v2/orgs", object{"name": "more"}},
		} {
			if a := x.ask(r.method, r.path, token, r.body); a.status != 401 && a.status != 403 && a.status != 404 {
				t.Errorf("%v, with a token with %s", a, name)
			}
		}
	}
	t.Logf("%d tokens were refused, %d made", refused, len(tokens)-1)
	if got := x.holdings(); got != want {
		t.Errorf("something changed:\n%s\nbefore:\n%s", got, want)
	}
	if x.signIn(x.user, x.password) == "" {
		t.Error("the operator can't sign in")
	}
}

// attackByName names organizations after the ID of one that doesn't exist yet.
func attackByName(t *testing.T) {
	x := startTenants(t)
	coming := "0a1b2c3d4e5f6789"
	x.newOrg("other")
	for _, name := range []string{coming, strings.ToUpper(coming), " " + coming, coming + "\t", "\u00a0" + coming, coming + "\u2028", "0000000000000000"} {
		x.must(400, x.ask("POST", "/api/v2/orgs", x.token, object{"name": name}))
		x.must(400, x.ask("PATCH", "/api/v2/orgs/"+x.attackerOrg, x.attackerToken, object{"name": name}))
		if a := x.ask("PATCH", "/api/v2/orgs/"+x.attackerOrg, x.attackerToken, object{"name": name, "description": "at once"}); a.status != 400 {
			t.Error(a)
		}
	}
	together(8, func(i int) { // two requests at once
		if i%2 == 0 {
			x.ask("PATCH", "/api/v2/orgs/"+x.attackerOrg, x.attackerToken, object{"name": coming})
		} else {
			x.ask("POST", "/influxd/v1/secret/data/"+coming, x.token, object{"data": object{x.secretName("theirs"): x.private("theirs")}})
		}
	})
	for _, pre := range []string{"/v1", "/influxd/v1"} {
		for _, id := range []string{coming, strings.ToUpper(coming)} {
			for _, path := range []string{"data/", "metadata/", "subkeys/"} {
				x.must(403, x.ask("GET", pre+"/secret/"+path+id, x.attackerToken, nil))
			}
		}
	}
	if got := x.must(200, x.ask("GET", "/v1/secret/data/"+coming, x.token, nil)); !strings.Contains(got.body, x.private("theirs")) {
		t.Error(got)
	}
}

// attackByPath sends paths that clients, proxies or the server might clean to each
// route that removes something.
func attackByPath(t *testing.T) {
	x := startTenants(t)
	user := x.newUser(x.private("eve"), x.private("eve's password"))
	x.must(201, x.ask("POST", "/api/v2/orgs/"+x.orgID+"/members", x.token, object{"id": user}))
	token := x.must(201, x.ask("POST", "/api/v2/authorizations", x.token, object{"orgID": x.orgID, "permissions": both("secrets", "", x.orgID)})).field("id")
	org := "/api/v2/orgs/" + x.orgID
	want := x.holdings()
	space := strings.NewReplacer("%20", " ", "%0a", "\n")
	tried := 0
	for _, path := range []string{
		org, org + "/members/" + user, org + "/owners/" + x.operatorID, "/api/v2/users/" + user, "/api/v2/authorizations/" + token,
		"/v1/secret/metadata/" + x.orgID, "/v1/secret/data/" + x.orgID, "/influxd/v1/secret/metadata/" + x.orgID,
	} {
		last := strings.LastIndex(path, "/")
		for _, target := range []string{
			path + "/", path + "//", path + "/.", path + "/%2e", path + "/x/..", path + "/x/%2e%2e", path + "/x/%2E.",
			path + "%2f", path + "%2F.", path + "%20", path + "%00", path + "%0a", path + ";x", path + "%3f", path + "\\",
			path[:last] + "/" + path[last:], path[:last] + "/." + path[last:], path[:last] + "/x/.." + path[last:], path[:last] + "/%2e" + path[last:],
			path[:last] + "%2f" + path[last+1:], "/" + path, "/." + path, "/x/.." + path, "/%2e%2e" + path, path[:last+1] + "%20" + path[last+1:],
		} {
			isVault := strings.Contains(path, "/v1/")
			if isVault && strings.ContainsAny(space.Replace(target), " \n") {
				continue // space around an organization's name is no part of it
			}
			for _, method := range []string{"DELETE", "POST", "PUT", "PATCH"} {
				a := x.ask(method, target, x.token, "{}")
				// Vault's protocol allows deleting a document that doesn't exist.
				if a.ok() && !isVault || a.status >= 500 {
					t.Errorf("%v, for %s", a, path)
				}
				tried++
			}
		}
		if got := x.holdings(); got != want {
			t.Fatalf("%s: something changed:\n%s\nbefore:\n%s", path, got, want)
		}
	}
	t.Logf("%d paths", tried)
	// A path to an existing secret means that secret; no new one can have such a name.
	for _, name := range []string{"..", ".", "a/..", "../a", "a/./b", "%2e%2e", "%2e%2e%2f", "..%2f..", "%2E", "x/../..", "../", "./"} {
		if a := x.ask("DELETE", org+"/secrets/"+name, x.token, nil); a.status != 204 && a.status != 404 {
			t.Error(a)
		}
	}
	for _, name := range []string{"%FC", "%00", strings.Repeat("x", 1025), "%ff%fe", "a%00b"} {
		if a := x.ask("DELETE", org+"/secrets/"+name, x.token, nil); a.status != 400 {
			t.Error(a)
		}
	}
	for _, name := range []string{"..", ".", "a/..", "../a", "a/./b", "./", "/.", "/.."} {
		one := object{name: "x"}
		for _, a := range []reply{
			x.ask("PATCH", org+"/secrets", x.token, one), x.ask("PATCH", org+"/secrets/values", x.token, one), x.ask("PUT", org+"/secrets/values", x.token, one),
			x.ask("POST", "/v1/secret/data/"+x.orgID, x.token, object{"data": one}), x.ask("PATCH", "/v1/secret/data/"+x.orgID, x.token, object{"data": one}),
			x.ask("POST", "/influxd/v1/secret/data/"+x.orgID, x.token, object{"data": one}),
			x.ask("PATCH", org+"/secrets", x.token, object{name: "x", "fine": "y"}),
			x.ask("POST", "/api/v2/orgs", x.token, object{"name": name}),
		} {
			if a.status != 400 {
				t.Errorf("%v with the name %q", a, name)
			}
		}
	}
	if got := x.holdings(); got != want {
		t.Errorf("something changed:\n%s\nbefore:\n%s", got, want)
	}
}

// attackByMisspelling requests limited tokens in many spellings. Each must be
// refused or limited as intended.
func attackByMisspelling(t *testing.T) {
	x := startTenants(t)
	spellings := func(words ...string) (all []string) {
		for _, w := range words {
			all = append(all, w, strings.ToUpper(w), strings.ToLower(w), strings.ToUpper(w[:1])+w[1:], w+"s", w+" ", " "+w, w+"_", w[:len(w)-1], w+"\x00", w+"\u200b")
		}
		return all
	}
	create := func(limit object, inside string) reply {
		p := permission("read", "secrets", "", x.attackerOrg)
		body := object{"orgID": x.attackerOrg, "permissions": []object{p}}
		switch inside {
		case "permission":
			maps.Copy(p, limit)
		case "resource":
			maps.Copy(p["resource"].(object), limit)
		default:
			maps.Copy(body, limit)
		}
		return x.ask("POST", "/api/v2/authorizations", x.attackerToken, body)
	}
	made := 0
	check := func(name string, value any, inside string) {
		a := create(object{name: value}, inside)
		if !a.ok() {
			if a.status != 400 {
				t.Errorf("%q: %v inside %q: %v", name, value, inside, a)
			}
			return
		}
		made++
		x.confide(a.field("token"))
		if inside != "" || a.field("expiresAt") == "" && !strings.Contains(a.body, `"names"`) {
			t.Errorf("%q: %v inside %q is not understood: %v", name, value, inside, a)
		}
	}
	for _, inside := range []string{"", "permission", "resource"} {
		for _, name := range spellings("names", "name_patterns", "patterns", "secretNames", "only") {
			check(name, []string{"db_*"}, inside)
		}
		for _, name := range spellings("expiresAt", "expires_at", "expires", "expiry", "ttl", "notAfter", "validUntil") {
			check(name, "2040-01-01T00:00:00Z", inside)
		}
	}
	for _, names := range []any{[]string{}, []string{""}, []any{nil}, []any{"a", nil}, "db_*", object{}, 0, false, []any{[]string{"a"}}, []string{"a\x00"}} {
		check("names", names, "")
	}
	for _, at := range []any{"", 0, -1, "never", "0001-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "2040", "2040-01-01", "2020-01-01T00:00:00Z", "99999-01-01T00:00:00Z", false, []string{}} {
		check("expiresAt", at, "")
	}
	if made < 2 {
		t.Errorf("only %d tokens were made", made)
	}
	// A token can't be limited later either.
	id := x.must(200, x.ask("GET", "/api/v2/authorizations", x.attackerToken, nil))
	for _, limit := range []object{{"names": []string{"db_*"}}, {"expiresAt": "2040-01-01T00:00:00Z"}, {"expires_at": "x"}} {
		a := x.ask("PATCH", "/api/v2/authorizations/"+firstID(id.body), x.attackerToken, limit)
		if a.status != 400 {
			t.Errorf("%v with %v", a, limit)
		}
	}
}

var idPattern = regexp.MustCompile(`"id": ?"([0-9a-f]{16})"`)

func firstID(body string) string {
	if m := idPattern.FindStringSubmatch(body); m != nil {
		return m[1]
	}
	return absentID
}
