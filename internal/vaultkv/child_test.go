package vaultkv_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// child creates a token with another one.
func (s *server) child(tb testing.TB, token, body string) (string, answer) {
	tb.Helper()
	a := s.do(tb, "POST", "/v1/auth/token/create", token, body).want(tb, 200)
	return a.get(tb, "auth", "client_token").(string), a
}

func TestCreateToken(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	parent := s.readerToken(t)
	// As Terraform's provider asks.
	token, a := s.child(t, parent.Value, `{"display_name":"terraform","ttl":"20m","explicit_max_ttl":"20m","renewable":false}`)
	if got := fmt.Sprint(a.get(t, "auth", "lease_duration"), " ", a.get(t, "auth", "renewable"), a.get(t, "auth", "policies"), a.get(t, "auth", "orphan")); got != "1200 false [default] false" {
		t.Errorf("got %s: %s", got, a.text)
	}
	s.do(t, "GET", s.at("data"), token, "").want(t, 200)
	s.do(t, "PUT", s.at("data"), token, `{"data":{}}`).wantErrors(t, 403, "permission denied")
	look := s.do(t, "GET", "/v1/auth/token/lookup-self", token, "").want(t, 200)
	for path, want := range map[string]string{"display_name": "token-terraform", "renewable": "false", "orphan": "false", "path": "auth/token/create", "creation_ttl": "1200"} {
		if got := fmt.Sprint(look.get(t, "data", path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	s.do(t, "POST", "/v1/auth/token/renew-self", token, "").want(t, 400)
	s.Clock.Advance(21 * time.Minute)
	s.do(t, "GET", s.at("data"), token, "").want(t, 403)

	_, a = s.child(t, s.OperatorToken, "")
	if got := fmt.Sprint(a.get(t, "auth", "lease_duration"), " ", a.get(t, "auth", "renewable"), a.get(t, "auth", "policies")); got != "3600 true [root]" {
		t.Errorf("by default: %s", got)
	}
	if _, a = s.child(t, parent.Value, `{"ttl":"768h","policies":["default"],"no_parent":false,"type":"service","num_uses":0,"period":"","meta":{"a":"b"}}`); fmt.Sprint(a.get(t, "auth", "lease_duration")) != "86400" {
		t.Errorf("a long one: %s", a.text)
	}
	if got := fmt.Sprint(a.json["warnings"]); got != `[Endpoint ignored these unrecognized parameters: [meta] TTL of "768h0m0s" exceeded the effective max_ttl of "24h0m0s"; TTL value is capped accordingly]` {
		t.Errorf("warnings %s", got)
	}
	for _, body := range []string{
		`{"policies":["root"]}`, `{"policies":["admin","default"]}`, `{"policies":"default"}`, `{"no_parent":true}`, `{"no_parent":"x"}`, `{"no_default_policy":true}`,
		`{"period":"1h"}`, `{"num_uses":1}`, `{"num_uses":"x"}`, `{"type":"batch"}`, `{"id":"chosen"}`, `{"entity_alias":"ann"}`, `{"ttl":"soon"}`, `{"ttl":-1}`,
		`{"explicit_max_ttl":"x"}`, `{"lease":"x"}`, `{"renewable":"x"}`, `{"display_name":1}`, `[]`,
	} {
		if a := s.do(t, "POST", "/v1/auth/token/create", parent.Value, body); a.status != 400 {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	s.op(t, "POST", "/v1/auth/token/create", `{"policies":["default"]}`).want(t, 400) // it would have more
	s.op(t, "POST", "/v1/auth/token/create-orphan", "").want(t, 404)
	s.do(t, "POST", "/v1/auth/token/create", "", "").wantErrors(t, 403, "permission denied")
}

// TestChildrenHaveNoMore attacks: a child must not have, do or outlive what each of
// the tokens before it doesn't.
func TestChildrenHaveNoMore(t *testing.T) {
	s := newServer(t, nil)
	op := s.Operator(t, keep.InfluxDB)
	s.op(t, "PUT", s.at("data"), `{"data":{"db_a":"1","other":"2"}}`).want(t, 200)
	reads := func(token string, status int) {
		t.Helper()
		s.do(t, "GET", s.at("data"), token, "").want(t, status)
	}

	t.Run("limits on names hold", func(t *testing.T) {
		limited := s.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(s.Org), Names: []string{"db_*"}})
		token, _ := s.child(t, limited.Value, "")
		token, _ = s.child(t, token, "")
		if got, _ := s.do(t, "GET", s.at("data"), token, "").document(t); len(got) != 1 || got["db_a"] != "1" {
			t.Errorf("a child's child reads %v", got)
		}
		s.do(t, "PUT", s.at("data"), token, `{"data":{"other":"x"}}`).want(t, 403)
		look := s.do(t, "POST", "/v1/auth/token/lookup", token, `{"token":"`+s.OperatorToken+`"}`).want(t, 403)
		if missing := s.do(t, "POST", "/v1/auth/token/lookup", token, `{"token":"nothing"}`); missing.text != look.text || missing.status != look.status {
			t.Errorf("a token that exists is %s, a missing one %s", look.text, missing.text)
		}
	})
	t.Run("it ends with each before it", func(t *testing.T) {
		root := s.readerToken(t)
		login, _ := s.login(t, root)
		child, a := s.child(t, login, `{"ttl":"10h"}`)
		if got := fmt.Sprint(a.get(t, "auth", "lease_duration")); got != "3600" && got != "3599" {
			t.Errorf("a login token's child lives for %s", got)
		}
		grandchild, _ := s.child(t, child, "")
		reads(grandchild, 200)
		s.do(t, "POST", "/v1/auth/token/revoke-self", login, "").want(t, 204)
		reads(child, 403)
		reads(grandchild, 403)
		s.do(t, "POST", "/v1/auth/token/create", grandchild, "").want(t, 403)
		s.do(t, "POST", "/v1/auth/token/renew-self", grandchild, "").want(t, 403)
		reads(root.Value, 200)
	})
	t.Run("it ends with a token that is deleted, deactivated, or whose user is", func(t *testing.T) {
		off := false
		for name, end := range map[string]func(keep.Token) error{
			"deleted": func(k keep.Token) error { return s.DeleteToken(t.Context(), op, k.ID) },
			"deactivated": func(k keep.Token) error {
				_, err := s.UpdateToken(t.Context(), op, k.ID, keep.TokenUpdate{Active: &off})
				return err
			},
			"of an inactive user": func(k keep.Token) error {
				_, err := s.UpdateUser(t.Context(), op, k.User, keep.UserUpdate{Active: &off})
				return err
			},
		} {
			user, err := s.CreateUser(t.Context(), op, "user "+name, true)
			if err != nil {
				t.Fatal(err)
			}
			root := s.MustToken(t, keep.NewToken{User: user.ID, Permissions: keeptest.ReadSecrets(s.Org)})
			child, _ := s.child(t, root.Value, `{"ttl":"10h"}`)
			grandchild, _ := s.child(t, child, "")
			reads(grandchild, 200)
			if err := end(root); err != nil {
				t.Fatal(err)
			}
			for _, token := range []string{child, grandchild} {
				s.do(t, "GET", s.at("data"), token, "").want(t, 403)
				s.do(t, "POST", "/v1/auth/token/create", token, "").want(t, 403)
			}
		}
	})
	t.Run("renewing it does not outlive the one before it", func(t *testing.T) {
		root := s.readerToken(t)
		short, _ := s.child(t, root.Value, `{"ttl":"30m","renewable":false}`)
		child, _ := s.child(t, short, "")
		s.Clock.Advance(20 * time.Minute)
		if a := s.do(t, "POST", "/v1/auth/token/renew-self", child, "").want(t, 200); ttlOf(t, s.do(t, "GET", "/v1/auth/token/lookup-self", child, "")) > 600 {
			t.Errorf("renewed to %s", a.text)
		}
		s.Clock.Advance(11 * time.Minute)
		reads(child, 403)
	})
	t.Run("it changes no users, and is in no list", func(t *testing.T) {
		token, _ := s.child(t, s.OperatorToken, `{"ttl":"24h"}`)
		c := s.MustCaller(t, keep.InfluxDB, token)
		if _, err := s.CreateUser(t.Context(), c, "eve", true); keep.CodeOf(err) != keep.CodeForbidden {
			t.Errorf("an operator's child creates a user: %v", err)
		}
		if _, err := s.CreateToken(t.Context(), c, keep.NewToken{Org: s.Org, Active: true, Permissions: keeptest.ReadSecrets(s.Org)}); keep.CodeOf(err) != keep.CodeForbidden {
			t.Errorf("an operator's child makes a token that never ends: %v", err)
		}
		tokens, err := s.Tokens(t.Context(), op, keep.TokenFilter{})
		for _, k := range tokens {
			if k.Parent != 0 {
				t.Errorf("the list has %v, %v", k.ID, err)
			}
		}
	})
	t.Run("generations end", func(t *testing.T) {
		token := s.readerToken(t).Value
		for range 7 {
			token, _ = s.child(t, token, "")
		}
		reads(token, 200)
		for range 3 {
			a := s.do(t, "POST", "/v1/auth/token/create", token, "")
			if a.status == 400 {
				return
			}
			token = a.get(t, "auth", "client_token").(string)
		}
		t.Error("children without end")
	})
}

func TestLookup(t *testing.T) {
	s := newServer(t, nil)
	reader, other := s.readerToken(t), s.otherToken(t)
	child, a := s.child(t, reader.Value, "")
	accessor := a.get(t, "auth", "accessor").(string)
	look := func(token, path, body string) answer { return s.do(t, "POST", "/v1/auth/token/"+path, token, body) }

	for name, a := range map[string]answer{
		"itself, by default":        look(reader.Value, "lookup", ""),
		"itself":                    look(reader.Value, "lookup", `{"token":"`+reader.Value+`"}`),
		"itself, by accessor":       look(reader.Value, "lookup-accessor", `{"accessor":"`+reader.ID.String()+`"}`),
		"an operator":               look(s.OperatorToken, "lookup", `{"token":"`+reader.Value+`"}`),
		"an operator, by accessor":  look(s.OperatorToken, "lookup-accessor", `{"accessor":"`+reader.ID.String()+`"}`),
		"an operator in upper case": look(s.OperatorToken, "lookup-accessor", `{"accessor":"`+fmt.Sprintf("%016X", uint64(reader.ID))+`"}`),
	} {
		if a.status != 200 || a.get(t, "data", "accessor") != reader.ID.String() || fmt.Sprint(a.get(t, "data", "policies")) != "[default]" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	for name, a := range map[string]answer{
		"its child":              look(reader.Value, "lookup", `{"token":"`+child+`"}`),
		"its child, by accessor": look(reader.Value, "lookup-accessor", `{"accessor":"`+accessor+`"}`),
		"an operator":            look(s.OperatorToken, "lookup-accessor", `{"accessor":"`+accessor+`"}`),
	} {
		if a.status != 200 || a.get(t, "data", "accessor") != accessor || a.get(t, "data", "orphan") != false {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if a := look(s.OperatorToken, "lookup-accessor", `{"accessor":"`+accessor+`"}`).want(t, 200); a.get(t, "data", "id") != "" {
		t.Errorf("the accessor gives the token: %s", a.text)
	}
	for name, a := range map[string]answer{
		"another's":               look(other.Value, "lookup", `{"token":"`+reader.Value+`"}`),
		"its parent":              look(child, "lookup", `{"token":"`+reader.Value+`"}`),
		"nothing":                 look(other.Value, "lookup", `{"token":"nothing"}`),
		"nothing, by an operator": look(s.OperatorToken, "lookup", `{"token":"nothing"}`),
	} {
		if a.status != 403 || fmt.Sprint(a.get(t, "errors")) != "[bad token]" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	for name, a := range map[string]answer{
		"another's":  look(other.Value, "lookup-accessor", `{"accessor":"`+reader.ID.String()+`"}`),
		"its parent": look(child, "lookup-accessor", `{"accessor":"`+reader.ID.String()+`"}`),
		"nothing":    look(s.OperatorToken, "lookup-accessor", `{"accessor":"`+acl.NewID().String()+`"}`),
		"no ID":      look(s.OperatorToken, "lookup-accessor", `{"accessor":"x"}`),
	} {
		if a.status != 403 || fmt.Sprint(a.get(t, "errors")) != "[invalid accessor]" {
			t.Errorf("%s by accessor: %d %s", name, a.status, a.text)
		}
	}
	look(s.OperatorToken, "lookup-accessor", "{}").want(t, 400)
	look(s.OperatorToken, "lookup", `{"token":1}`).want(t, 400)
	s.Clock.Advance(2 * time.Hour)
	if a := look(s.OperatorToken, "lookup-accessor", `{"accessor":"`+accessor+`"}`); a.status != 403 {
		t.Errorf("an expired one: %d %s", a.status, a.text)
	}
}

func TestMountsHaveEveryField(t *testing.T) {
	s := newServer(t, nil)
	fields := "accessor config deprecation_status description external_entropy_access local options plugin_version running_plugin_version running_sha256 seal_wrap type uuid"
	uuids := map[any]bool{}
	for path, at := range map[string][]string{
		"sys/mounts":                        {"data", "secret/"},
		"sys/mounts/secret":                 {"data"},
		"sys/mounts/secret/":                {"data"},
		"sys/internal/ui/mounts":            {"data", "secret", "secret/"},
		"sys/auth":                          {"data", "token/"},
		"sys/auth/approle":                  {"data"},
		"sys/internal/ui/mounts/secret/x/y": {"data"},
	} {
		a := s.op(t, "GET", "/v1/"+path, "").want(t, 200)
		mount := a.get(t, at...).(map[string]any)
		delete(mount, "path")
		if got := keysOf(mount); got != fields {
			t.Errorf("%s has %s", path, got)
		}
		uuids[mount["uuid"]] = true
		if again := s.op(t, "GET", "/v1/"+path, "").get(t, at...).(map[string]any); again["uuid"] != mount["uuid"] {
			t.Errorf("%s: the UUID changes", path)
		}
	}
	if len(uuids) != 3 {
		t.Errorf("%d different UUIDs of 3 mounts", len(uuids))
	}
	for path, want := range map[string]string{
		"sys/mounts/secret/tune":     "default_lease_ttl description force_no_cache max_lease_ttl options",
		"sys/mounts/auth/token/tune": "default_lease_ttl description force_no_cache max_lease_ttl token_type",
		"sys/auth/approle/tune":      "default_lease_ttl description force_no_cache max_lease_ttl token_type",
	} {
		a := s.op(t, "GET", "/v1/"+path, "").want(t, 200)
		if got := keysOf(a.get(t, "data").(map[string]any)); got != want {
			t.Errorf("%s has %s", path, got)
		}
	}
	s.op(t, "GET", "/v1/sys/mounts/nope", "").wantErrors(t, 400, "No secret engine mount at nope/")
	s.op(t, "GET", "/v1/sys/auth/nope", "").wantErrors(t, 400, "No auth engine at nope/")
	s.op(t, "GET", "/v1/sys/mounts/nope/tune", "").wantErrors(t, 400, `cannot fetch sysview for path "nope/"`)
	id := s.do(t, "GET", "/v1/sys/health", "", "").get(t, "cluster_id")
	if seal := s.do(t, "GET", "/v1/sys/seal-status", "", "").get(t, "cluster_id"); id != seal || len(fmt.Sprint(id)) != 36 {
		t.Errorf("cluster IDs are %v and %v", id, seal)
	}
}
