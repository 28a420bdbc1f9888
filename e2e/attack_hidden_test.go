package e2e

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// attackByLimited tries to exceed or outlive the limits of limited tokens, with
// these tokens, with tokens that they create, and with AppRole sessions.
func attackByLimited(t *testing.T) {
	x := startTenants(t)
	visible := x.secretName("db")
	x.must(204, x.ask("PATCH", "/api/v2/orgs/"+x.attackerOrg+"/secrets", x.token, object{visible: x.private("v")}))
	hidden := x.secretName("a")
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	names, ends := object{"names": []string{"db_*"}}, object{"expiresAt": end.Format(time.RFC3339)}
	rights := x.ownerRights()
	for _, limits := range [][]object{{names}, {ends}, {names, ends}} {
		token := x.newTokenOf(x.attackerID, x.attackerOrg, rights, limits...)
		byNames := len(limits[0]) > 0 && limits[0]["names"] != nil
		byTime := limits[len(limits)-1]["expiresAt"] != nil
		family := []string{token}
		for range 3 { // children and grandchildren
			last := family[len(family)-1]
			body := object{"orgID": x.attackerOrg, "permissions": rights}
			for _, l := range limits {
				for k, v := range l {
					body[k] = v
				}
			}
			made := x.must(201, x.ask("POST", "/api/v2/authorizations", last, body))
			child := x.confide(made.field("token"))
			login := x.ask("POST", "/v1/auth/approle/login", "", object{"role_id": firstID(made.body), "secret_id": child})
			if m := regexp.MustCompile(`"client_token":"([^"]+)"`).FindStringSubmatch(login.body); m != nil {
				family = append(family, x.confide(m[1]))
			} else {
				t.Errorf("%v", login)
			}
			family = append(family, child)
		}
		for _, holder := range family {
			wide := x.attackerWide()
			for _, r := range []struct {
				method, path string
				body         any
			}{
				{"POST", "/api/v2/users/" + x.attackerID + "/password", object{"password": "battery staple"}},
				{"PATCH", "/api/v2/users/" + x.attackerID, object{"name": "x"}},
				{"DELETE", "/api/v2/users/" + x.attackerID, nil},
				{"PATCH", "/api/v2/orgs/" + x.attackerOrg, object{"name": "x"}},
				{"DELETE", "/api/v2/orgs/" + x.attackerOrg, nil},
				{"POST", "/api/v2/orgs/" + x.attackerOrg + "/members", object{"id": x.attackerID}},
				{"DELETE", "/api/v2/orgs/" + x.attackerOrg + "/owners/" + x.attackerID, nil},
				{"POST", "/api/v2/authorizations", object{"orgID": x.attackerOrg, "permissions": rights}},
				{"POST", "/api/v2/authorizations", object{"orgID": x.attackerOrg, "permissions": rights, "names": []string{"*"}, "expiresAt": end.Add(time.Second).Format(time.RFC3339)}},
				{"PATCH", "/api/v2/authorizations/" + wide, object{"status": "inactive"}},
				{"DELETE", "/api/v2/authorizations/" + wide, nil},
			} {
				if a := x.ask(r.method, r.path, holder, r.body); a.status != 401 && a.status != 403 && a.status != 404 {
					t.Errorf("%v, limited by %v", a, limits)
				}
			}
			for _, patterns := range [][]string{{"*"}, {"*b_*"}, {"d*"}, {"db_*", hidden}, {hidden}, {"db*"}} {
				body := object{"orgID": x.attackerOrg, "permissions": rights, "names": patterns, "expiresAt": end.Format(time.RFC3339)}
				if a := x.ask("POST", "/api/v2/authorizations", holder, body); byNames && a.ok() {
					t.Errorf("%v with %v, limited by %v", a, patterns, limits)
				}
			}
			for _, later := range []time.Duration{time.Second, 100 * 365 * 24 * time.Hour} {
				body := object{"orgID": x.attackerOrg, "permissions": rights, "names": []string{"db_*"}, "expiresAt": end.Add(later).Format(time.RFC3339)}
				if a := x.ask("POST", "/api/v2/authorizations", holder, body); byTime && a.ok() {
					t.Errorf("%v, limited by %v", a, limits)
				}
			}
			if byNames {
				org := "/api/v2/orgs/" + x.attackerOrg + "/secrets"
				for _, r := range []struct {
					method, path string
					body         any
				}{
					{"PATCH", org, object{hidden: "x"}}, {"PATCH", org, object{visible: "x", hidden: "x"}}, {"DELETE", org + "/" + hidden, nil},
					{"POST", org + "/delete", object{"secrets": []string{visible, hidden}}}, {"PUT", org + "/values", object{hidden: "x"}},
					{"POST", org + "/rollback", object{"version": 1}},
					{"POST", "/v1/secret/data/" + x.attackerOrg, object{"data": object{hidden: "x"}}}, {"PATCH", "/v1/secret/data/" + x.attackerOrg, object{"data": object{hidden: nil}}},
					{"DELETE", "/v1/secret/data/" + x.attackerOrg, nil}, {"DELETE", "/v1/secret/metadata/" + x.attackerOrg, nil},
					{"POST", "/v1/secret/destroy/" + x.attackerOrg, object{"versions": []int{1}}}, {"POST", "/v1/secret/metadata/" + x.attackerOrg, object{"max_versions": 1}},
				} {
					if a := x.ask(r.method, r.path, holder, r.body); a.ok() {
						t.Errorf("%v, limited by %v", a, limits)
					}
				}
			}
		}
	}
	if x.signIn(x.attackerName, x.attackerPassword) == "" {
		t.Error("the password has changed")
	}
	if got := x.must(200, x.ask("GET", "/api/v2/orgs/"+x.attackerOrg+"/secrets/values?name="+hidden, x.attackerToken, nil)); !strings.Contains(got.body, x.private("a")) {
		t.Errorf("%v: a limited token has changed it", got)
	}
}

// attackerWide is the ID of the attacker's token without limits.
func (x *tenants) attackerWide() string {
	x.t.Helper()
	for _, id := range idPattern.FindAllStringSubmatch(x.must(200, x.ask("GET", "/api/v2/authorizations?userID="+x.attackerID, x.token, nil)).body, -1) {
		if a := x.ask("GET", "/api/v2/authorizations/"+id[1], x.token, nil); a.ok() && !strings.Contains(a.body, `"names"`) && !strings.Contains(a.body, "expiresAt") {
			return id[1]
		}
	}
	x.t.Fatal("there is no token without limits")
	return ""
}

// attackHiddenNames compares everything that a token limited to some names can
// read before and after others change hidden names.
func attackHiddenNames(t *testing.T) {
	x := startTenants(t)
	org := x.attackerOrg
	visible := x.secretName("db")
	x.must(204, x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets", x.token, object{visible: x.private("v")}))
	token := x.newTokenOf(x.attackerID, org, x.ownerRights(), object{"names": []string{"db_*"}})
	hidden := x.secretName("hidden")
	look := func() (all []string) {
		for _, r := range []string{
			"GET /api/v2/orgs/ORG/secrets", "GET /api/v2/orgs/ORG/secrets/values", "GET /api/v2/orgs/ORG/secrets/values?name=" + hidden + "&name=" + visible,
			"GET /api/v2/orgs/ORG/secrets/history", "GET /api/v2/orgs/ORG",
			"GET /v1/secret/data/ORG", "GET /v1/secret/metadata/ORG", "GET /v1/secret/subkeys/ORG", "LIST /v1/secret/metadata", "LIST /v1/secret/metadata/ORG",
			"GET /influxd/v1/secret/data/ORG", "GET /influxd/v1/secret/metadata/ORG", "GET /influxd/v1/secret/subkeys/ORG",
			"GET /v1/secret/data/ORG?version=2", "GET /v1/secret/data/ORG?version=3", "GET /v1/secret/data/ORG?version=5", "GET /v1/secret/data/ORG?version=999",
			"GET /v1/auth/token/lookup-self", "GET /api/v2/authorizations", "GET /api/v2/me",
		} {
			method, path, _ := strings.Cut(strings.ReplaceAll(r, "ORG", org), " ")
			a := x.ask(method, path, token, nil)
			a.header.Del("Date")
			a.header.Del("X-Request-Id")
			all = append(all, fmt.Sprint(r, a.status, a.header, varying.ReplaceAllString(a.body, "")))
		}
		return all
	}
	change := func(method, path string, body any) {
		x.must(0, x.okAs(x.ask(method, strings.ReplaceAll(path, "ORG", org), x.token, body)))
	}
	before := look()
	for i, do := range []func(){
		func() { change("PATCH", "/api/v2/orgs/ORG/secrets", object{hidden: "1"}) },
		func() { change("PATCH", "/v1/secret/data/ORG", object{"data": object{hidden: "2", hidden + "2": "x"}}) },
		func() {
			change("PATCH", "/v1/secret/data/ORG", object{"data": object{hidden: nil}, "options": object{"cas": 5 - 1}})
		},
		func() { change("DELETE", "/api/v2/orgs/ORG/secrets/"+hidden+"2", nil) },
		func() { change("PATCH", "/influxd/v1/secret/data/ORG", object{"data": object{hidden: "again"}}) },
	} {
		do()
		if after := look(); !slices.Equal(before, after) {
			for j := range before {
				if before[j] != after[j] {
					t.Errorf("change %d shows:\n%s\nbefore:\n%s", i, after[j], before[j])
				}
			}
		}
	}
	// A hidden change wakes no waiting request and causes no conflict.
	etag := x.ask("GET", "/api/v2/orgs/"+org+"/secrets/values", token, nil).header.Get("ETag")
	woken := make(chan reply, 1)
	go func() {
		woken <- x.ask("GET", "/api/v2/orgs/"+org+"/secrets/values?wait=2s", token, nil, "If-None-Match", etag)
	}()
	eventually(t, "poll that waits or has ended", func() bool {
		change("PATCH", "/api/v2/orgs/ORG/secrets", object{hidden: randomWord()})
		select {
		case a := <-woken:
			if a.status != 304 {
				t.Errorf("%v", a)
			}
			return true
		default:
			return false
		}
	})
	x.must(200, x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets/values", token, object{visible: x.private("mine")}, "If-Match", etag))
}

// okAs replaces any successful status, so that must accepts it.
func (x *tenants) okAs(a reply) reply {
	if a.ok() {
		a.status = 0
	}
	return a
}

// attackByGuessing writes without permission to read, to two organizations of
// which only one has the guessed values. All answers must be equal.
func attackByGuessing(t *testing.T) {
	x := startTenants(t)
	name, guess := x.secretName("pin"), x.private("1234")
	var replies [2][]string
	for i, value := range []string{guess, x.private("9876")} {
		org := x.newOrg(x.private(fmt.Sprint("org", i)))
		x.must(204, x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets", x.token, object{name: value, x.secretName("b"): "b"}))
		x.must(204, x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets", x.token, object{x.secretName("b"): "c"}))
		writer := x.newTokenOf(x.attackerID, org, []object{permission("write", "secrets", "", org), permission("read", "orgs", org, "")})
		etag := x.ask("GET", "/api/v2/orgs/"+org+"/secrets/values", x.token, nil).header.Get("ETag")
		step := func(method, path string, body any, headers ...string) {
			a := x.ask(method, strings.ReplaceAll(path, "ORG", org), writer, body, headers...)
			text := fmt.Sprint(method, path, body, headers, a.status, a.header.Get("ETag"), a.body)
			text = strings.ReplaceAll(varying.ReplaceAllString(text, ""), org, "ORG")
			replies[i] = append(replies[i], timePattern.ReplaceAllString(text, "TIME"))
		}
		// Each guess precedes anything that overwrites the value; the operator then
		// restores it.
		for _, g := range []func(){
			func() { step("PATCH", "/api/v2/orgs/ORG/secrets", object{name: guess}) },
			func() { step("PATCH", "/api/v2/orgs/ORG/secrets/values", object{name: guess}) },
			func() { step("PATCH", "/api/v2/orgs/ORG/secrets/values", object{name: guess}, "If-Match", "*") },
			func() { step("PATCH", "/api/v2/orgs/ORG/secrets/values", object{name: guess}, "If-Match", `"x"`) },
			func() { step("PUT", "/api/v2/orgs/ORG/secrets/values", object{name: guess}) },
			func() { step("POST", "/v1/secret/data/ORG", object{"data": object{name: guess}}) },
			func() { step("PATCH", "/v1/secret/data/ORG", object{"data": object{name: guess}}) },
			func() {
				step("POST", "/influxd/v1/secret/data/ORG", object{"data": object{name: guess}, "options": object{"cas": 1}})
			},
			func() {
				step("PATCH", "/influxd/v1/secret/data/ORG", object{"data": object{name: guess}, "options": object{"cas": 1}})
			},
			func() {
				step("POST", "/v1/secret/data/ORG", object{"data": object{name: guess}, "options": object{"cas": 1}})
			},
			func() { step("DELETE", "/api/v2/orgs/ORG/secrets/"+name, nil) },
			func() { step("POST", "/api/v2/orgs/ORG/secrets/rollback", object{"version": 1}) },
		} {
			g()
			step("PATCH", "/api/v2/orgs/ORG/secrets/values", object{x.secretName("other"): randomWord()}) // its version number reveals the number of versions
			x.must(204, x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets", x.token, object{name: "something"}))
			x.must(204, x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets", x.token, object{name: value}))
		}
		if a := x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets/values", writer, object{name: guess}, "If-Match", etag); a.ok() {
			t.Errorf("%v with a reader's tag", a)
		}
	}
	for i := range replies[0] {
		// The operator makes the same number of changes in both, and other values
		// are random.
		if a, b := wordPattern.ReplaceAllString(replies[0][i], "W"), wordPattern.ReplaceAllString(replies[1][i], "W"); a != b {
			t.Errorf("a right guess is answered\n%s\nand a wrong one\n%s", a, b)
		}
	}
}

var (
	timePattern = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	wordPattern = regexp.MustCompile(`[a-z]{14}`)
)

// attackExistence requests hidden objects and objects that don't exist. The
// answers must be equal.
func attackExistence(t *testing.T) {
	x := startTenants(t)
	stranger := x.newUser(x.private("eve"), x.private("eve's password"))
	tokens := map[string]string{
		"the owner of another organization": x.attackerToken,
		"somebody without rights":           x.newTokenOf(stranger, x.attackerOrg, []object{permission("read", "buckets", "", x.attackerOrg)}),
		"somebody switched off":             x.newTokenOf(x.attackerID, x.attackerOrg, x.ownerRights(), object{"status": "inactive"}),
		"nobody":                            "",
	}
	same := func(who, method, there, absent string, body any) {
		t.Helper()
		var texts [2]string
		for i, name := range []string{there, absent} {
			b := body
			if f, ok := body.(func(string) any); ok {
				b = f(name)
			}
			target := method
			m, path, _ := strings.Cut(strings.ReplaceAll(target, "NAME", name), " ")
			a := x.ask(m, path, tokens[who], b)
			a.header.Del("Date")
			a.header.Del("X-Request-Id")
			a.header.Del("Content-Length")
			if a.status >= 500 || a.status == 0 || a.ok() && !strings.Contains(a.body, "[]") && !strings.Contains(path, "capabilities") && !strings.Contains(path, "mounts") {
				t.Errorf("%s by %s: %v", target, who, a)
			}
			texts[i] = strings.ReplaceAll(strings.ReplaceAll(fmt.Sprint(a.status, a.header, varying.ReplaceAllString(a.body, "")), name, "NAME"), strings.ReplaceAll(name, " ", "+"), "NAME")
		}
		if texts[0] != texts[1] {
			t.Errorf("%s by %s: what exists is answered\n%s\nand what doesn't\n%s", method, who, texts[0], texts[1])
		}
	}
	before := x.holdings()
	for who := range tokens {
		for _, sub := range []string{"", "/secrets", "/secrets/values", "/secrets/history", "/members", "/owners"} {
			same(who, "GET /api/v2/orgs/NAME"+sub, x.orgID, absentID, nil)
		}
		same(who, "GET /api/v2/orgs?orgID=NAME", x.orgID, absentID, nil)
		same(who, "GET /api/v2/orgs?org=NAME", x.org, x.private("nobody"), nil)
		same(who, "GET /api/v2/users/NAME", x.operatorID, absentID, nil)
		same(who, "GET /api/v2/users?id=NAME", x.operatorID, absentID, nil)
		same(who, "GET /api/v2/users?name=NAME", x.user, x.private("nobody"), nil)
		same(who, "GET /api/v2/authorizations/NAME", x.operatorToken, absentID, nil)
		for _, q := range []struct{ key, there, absent string }{
			{"userID", x.operatorID, absentID}, {"orgID", x.orgID, absentID}, {"id", x.operatorToken, absentID}, {"user", x.user, x.private("nobody")}, {"org", x.org, x.private("nobody")},
		} {
			same(who, "GET /api/v2/authorizations?"+q.key+"=NAME", q.there, q.absent, nil)
		}
		for _, r := range []struct {
			path string
			body any
		}{
			{"PATCH /api/v2/orgs/NAME", object{"name": x.org}}, {"PATCH /api/v2/orgs/NAME", object{"name": ""}}, {"PATCH /api/v2/orgs/NAME", "{"}, {"DELETE /api/v2/orgs/NAME", nil},
			{"PATCH /api/v2/orgs/NAME/secrets", object{"a": "b"}}, {"PATCH /api/v2/orgs/NAME/secrets", "{"}, {"PATCH /api/v2/orgs/NAME/secrets", object{"..": "b"}},
			{"PUT /api/v2/orgs/NAME/secrets/values", object{"a": "b"}}, {"DELETE /api/v2/orgs/NAME/secrets/a", nil}, {"DELETE /api/v2/orgs/NAME/secrets/%00", nil},
			{"POST /api/v2/orgs/NAME/secrets/rollback", object{"version": 1}}, {"POST /api/v2/orgs/NAME/secrets/dismiss", object{"version": 99}},
			{"POST /api/v2/orgs/NAME/members", object{"id": stranger}}, {"POST /api/v2/orgs/NAME/members", object{}}, {"DELETE /api/v2/orgs/NAME/owners/" + x.operatorID, nil},
			{"PATCH /v1/secret/data/NAME", object{"data": object{"a": "b"}}}, {"POST /v1/secret/data/NAME", object{"data": object{"a": "b"}, "options": object{"cas": 0}}},
			{"POST /influxd/v1/secret/data/NAME", object{"data": object{"a": "b"}, "options": object{"cas": 1}}}, {"POST /v1/secret/data/NAME", "{"},
			{"GET /v1/secret/data/NAME", nil}, {"GET /influxd/v1/secret/data/NAME", nil}, {"GET /v1/secret/metadata/NAME", nil}, {"GET /v1/secret/subkeys/NAME", nil},
			{"DELETE /v1/secret/data/NAME", nil}, {"DELETE /v1/secret/metadata/NAME", nil}, {"POST /v1/secret/destroy/NAME", object{"versions": []int{1}}},
			{"POST /v1/secret/metadata/NAME", object{"max_versions": 3}}, {"GET /v1/sys/internal/ui/mounts/secret/data/NAME", nil},
			{"POST /v1/sys/capabilities-self", func(name string) any {
				return object{"paths": []string{"secret/data/" + name, "secret/metadata/" + name}}
			}},
		} {
			same(who, r.path, x.orgID, absentID, r.body)
			if strings.Contains(r.path, "/v1/") { // names too
				same(who, r.path, "acme-"+x.secrets.other, "mine-"+x.secrets.other, r.body)
			}
		}
		for _, r := range []struct {
			path string
			body any
		}{
			{"PATCH /api/v2/users/NAME", object{"name": x.user}}, {"PATCH /api/v2/users/NAME", object{"name": "a:b"}}, {"PATCH /api/v2/users/NAME", "{"}, {"DELETE /api/v2/users/NAME", nil},
			{"POST /api/v2/users/NAME/password", object{"password": "battery staple"}}, {"POST /api/v2/users/NAME/password", object{"password": ""}},
			{"POST /api/v2/orgs/" + x.attackerOrg + "/members", func(id string) any { return object{"id": id} }},
			{"POST /api/v2/authorizations", func(id string) any {
				return object{"orgID": x.attackerOrg, "userID": id, "permissions": both("secrets", "", x.attackerOrg)}
			}},
			{"POST /api/v2/authorizations", func(id string) any {
				return object{"orgID": x.attackerOrg, "permissions": both("users", id, x.attackerOrg)}
			}},
			{"POST /api/v2/authorizations", func(id string) any {
				return object{"orgID": x.attackerOrg, "permissions": both("users", id, "")}
			}},
		} {
			same(who, r.path, stranger, absentID, r.body)
		}
		for _, r := range []struct {
			path string
			body any
		}{
			{"PATCH /api/v2/authorizations/NAME", object{"status": "inactive"}}, {"PATCH /api/v2/authorizations/NAME", object{"status": "x"}}, {"DELETE /api/v2/authorizations/NAME", nil},
			{"POST /v1/auth/approle/login", func(id string) any { return object{"role_id": id, "secret_id": "wrong"} }},
			{"POST /api/v2/authorizations", func(id string) any {
				return object{"orgID": x.attackerOrg, "permissions": both("authorizations", id, x.attackerOrg)}
			}},
		} {
			same(who, r.path, x.operatorToken, absentID, r.body)
		}
	}
	if got := x.holdings(); got != before {
		t.Errorf("something changed:\n%s\nbefore:\n%s", got, before)
	}
}

// attackWithoutCredential sends empty and malformed credentials.
func attackWithoutCredential(t *testing.T) {
	x := startTenants(t)
	sent := 0
	before := x.refusals()
	for _, path := range []string{"/api/v2/me", "/api/v2/orgs", "/api/v2/orgs/" + x.orgID + "/secrets/values", "/v1/secret/data/" + x.orgID, "/influxd/v1/secret/data/" + x.orgID, "/v1/auth/token/lookup-self"} {
		for _, h := range [][]string{
			nil, {"Authorization", ""}, {"Authorization", "Token"}, {"Authorization", "Token "}, {"Authorization", "Token \t"}, {"Authorization", "Bearer "}, {"Authorization", "Bearer"},
			{"Authorization", "Basic "}, {"Authorization", "Basic Og=="}, {"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(x.user+":"))},
			{"Authorization", "Token null"}, {"Authorization", "Token undefined"}, {"Authorization", x.token}, {"Authorization", "Token  " + x.token}, {"Authorization", "Token " + x.token + "\u00a0"},
			{"X-Vault-Token", ""}, {"X-Vault-Token", " "}, {"X-Vault-Token", "null"}, {"X-Vault-Token", x.token[:len(x.token)-1]}, {"Cookie", "influxdb-oss-session="}, {"Cookie", `influxdb-oss-session=""`},
			{"Authorization", "Token " + x.operatorToken}, {"X-Vault-Token", x.operatorToken},
		} {
			a := x.ask("GET", path, "", nil, h...)
			if sent++; a.status != 401 && a.status != 403 {
				t.Errorf("%v with %q", a, h)
			}
		}
	}
	x.stop() // records the pending counts
	if n := x.refusals() - before; n != sent {
		t.Errorf("%d requests were refused, and the audit log has %d", sent, n)
	}
	x.again()
}

// attackBySession uses sessions from other sites, and after the source of their
// rights is gone.
func attackBySession(t *testing.T) {
	x := startTenants(t)
	session := x.signIn(x.user, x.password)
	elsewhere := [][]string{
		{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Origin", "http://" + x.address() + ".evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "http://x"},
	}
	for _, from := range elsewhere {
		for _, r := range []struct {
			method, path string
			body         any
		}{
			{"POST", "/api/v2/users", object{"name": "more"}}, {"DELETE", "/api/v2/orgs/" + x.orgID, nil}, {"PATCH", "/api/v2/orgs/" + x.orgID + "/secrets", object{"x": "y"}},
			{"POST", "/api/v2/authorizations", object{"orgID": x.orgID, "permissions": both("secrets", "", x.orgID)}}, {"POST", "/api/v2/signout", ""}, {"PUT", "/api/v2/me/password", object{"password": "battery staple"}},
		} {
			for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json"} {
				if a := x.ask(r.method, r.path, "", r.body, append(slices.Clone(from), "Cookie", session, "Content-Type", contentType)...); a.ok() || a.status >= 500 {
					t.Errorf("%v from %q", a, from)
				}
			}
		}
	}
	x.must(200, x.ask("GET", "/api/v2/me", "", nil, "Cookie", session))

	theirs := x.signIn(x.attackerName, x.attackerPassword)
	secrets := "/api/v2/orgs/" + x.attackerOrg + "/secrets"
	x.must(200, x.ask("GET", secrets, "", nil, "Cookie", theirs))
	x.must(204, x.ask("DELETE", "/api/v2/orgs/"+x.attackerOrg+"/owners/"+x.attackerID, x.token, nil))
	x.must(200, x.ask("GET", secrets, "", nil, "Cookie", theirs)) // the user's token gives this right
	wide := x.attackerWide()
	x.must(200, x.ask("PATCH", "/api/v2/authorizations/"+wide, x.token, object{"status": "inactive"}))
	x.newTokenOf(x.attackerID, x.attackerOrg, x.ownerRights(), object{"names": []string{"*"}})
	x.newTokenOf(x.attackerID, x.attackerOrg, x.ownerRights(), object{"expiresAt": "2090-01-01T00:00:00Z"})
	for _, r := range []string{"GET " + secrets, "GET " + secrets + "/values", "GET /api/v2/orgs/" + x.attackerOrg, "DELETE /api/v2/orgs/" + x.attackerOrg} {
		method, path, _ := strings.Cut(r, " ")
		if a := x.ask(method, path, "", nil, "Cookie", theirs); a.ok() {
			t.Errorf("%v by a session that has lost its rights", a)
		}
	}
	x.must(204, x.ask("POST", "/api/v2/users/"+x.attackerID+"/password", x.token, object{"password": "another password"}))
	x.must(401, x.ask("GET", "/api/v2/me", "", nil, "Cookie", theirs))
}

// attackBySetup runs many setups at once, and another when no user is left.
func attackBySetup(t *testing.T) {
	x := &tenants{server: start(t, attackedStore(t)...)}
	first := object{"username": x.user, "password": x.password, "org": x.org, "bucket": "b"}
	for field, texts := range map[string][]string{
		"username": {"a:b", "a\n", "\x00", "a\x7f"},
		"org":      {"0a1b2c3d4e5f6789", "..", "a/../b", "a\x00"},
		"token":    {"tok\n", "tok ", " tok", "to\x00k", "t\tok", "tok\r", "\x7ftok"},
		"password": {"short", strings.Repeat("x", 73)},
	} {
		for _, text := range texts {
			body := object{}
			for k, v := range first {
				body[k] = v
			}
			body[field] = text
			x.must(400, x.ask("POST", "/api/v2/setup", "", body))
		}
	}
	const times = 12
	var replies [times]reply
	together(times, func(i int) { replies[i] = x.ask("POST", "/api/v2/setup", "", first) })
	made := 0
	for _, a := range replies {
		switch {
		case a.status == 201:
			made++
			var got struct {
				Auth struct{ Token string }
				Org  struct{ ID string }
				User struct{ ID string }
			}
			a.into(&got)
			x.token, x.orgID, x.operatorID = x.confide(got.Auth.Token), got.Org.ID, got.User.ID
		case a.status != 422 && a.status != 429:
			t.Error(a)
		}
	}
	if made != 1 {
		t.Fatalf("%d of %d setups were made", made, times)
	}
	x.must(204, x.ask("DELETE", "/api/v2/orgs/"+x.orgID, x.token, nil))
	x.must(204, x.ask("DELETE", "/api/v2/users/"+x.operatorID, x.token, nil))
	for range 2 {
		if a := x.ask("POST", "/api/v2/setup", "", first); a.ok() {
			t.Error(a)
		}
		if a := x.ask("GET", "/api/v2/setup", "", nil); !strings.Contains(a.body, "false") {
			t.Error(a)
		}
		x.stop()
		x.again()
	}
}
