package vaultkv_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// login logs in with a token, and returns the login token.
func (s *server) login(tb testing.TB, t keep.Token) (string, answer) {
	tb.Helper()
	a := s.do(tb, "PUT", "/v1/auth/approle/login", "", toJSON(tb, map[string]string{"role_id": t.ID.String(), "secret_id": t.Value})).want(tb, 200)
	return a.get(tb, "auth", "client_token").(string), a
}

func TestLogin(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	parent := s.readerToken(t)
	token, a := s.login(t, parent)
	for path, want := range map[string]string{
		"lease_duration": "3600", "renewable": "true", "token_type": "service", "policies": "[default]", "token_policies": "[default]",
	} {
		if got := fmt.Sprint(a.get(t, "auth", path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if a.json["data"] != nil || token == parent.Value || a.get(t, "auth", "accessor") == parent.ID.String() {
		t.Errorf("login answers %s", a.text)
	}
	read := func(status int) {
		t.Helper()
		s.do(t, "GET", s.at("data"), token, "").want(t, status)
	}
	read(200)
	s.do(t, "PUT", s.at("data"), token, `{"data":{"a":"2"}}`).wantErrors(t, 403, "permission denied")

	look := s.do(t, "GET", "/v1/auth/token/lookup-self", token, "").want(t, 200)
	for path, want := range map[string]string{
		"id": token, "renewable": "true", "creation_ttl": "3600", "path": "auth/approle/login", "display_name": "approle",
		"policies": "[default]", "orphan": "false", "type": "service",
	} {
		if got := fmt.Sprint(look.get(t, "data", path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if !isTime(look.get(t, "data", "expire_time")) {
		t.Errorf("expire_time is %v", look.get(t, "data", "expire_time"))
	}

	// It expires after an hour unless it is renewed.
	s.Clock.Advance(50 * time.Minute)
	if ttl := ttlOf(t, s.do(t, "GET", "/v1/auth/token/lookup-self", token, "")); ttl < 598 || ttl > 600 {
		t.Errorf("ttl is %d", ttl)
	}
	for _, body := range []string{`{}`, ``, `{"increment":"10m"}`, `{"increment":0}`, `{"increment":null}`, `{"token":"x"}`} {
		r := s.do(t, "PUT", "/v1/auth/token/renew-self", token, body).want(t, 200)
		if got := fmt.Sprintf("%v %v", r.get(t, "auth", "client_token"), r.get(t, "auth", "lease_duration")); got != token+" 3600" {
			t.Errorf("the renewal returned %s", got)
		}
	}
	s.do(t, "PUT", "/v1/auth/token/renew-self", token, `{"increment":"x"}`).want(t, 400)
	s.Clock.Advance(50 * time.Minute)
	read(200)
	s.Clock.Advance(11 * time.Minute)
	read(403)
	s.do(t, "PUT", "/v1/auth/token/renew-self", token, `{}`).wantErrors(t, 403, "permission denied")

	// It is revoked together with its parent.
	token, _ = s.login(t, parent)
	read(200)
	if err := s.DeleteToken(t.Context(), s.Operator(t, keep.InfluxDB), parent.ID); err != nil {
		t.Fatal(err)
	}
	read(403)
}

func ttlOf(tb testing.TB, a answer) int64 {
	tb.Helper()
	n, err := strconv.ParseInt(string(a.want(tb, 200).get(tb, "data", "ttl").(json.Number)), 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// TestLoginEndsWithItsParent checks a parent with less than an hour left.
func TestLoginEndsWithItsParent(t *testing.T) {
	s := newServer(t, nil)
	parent := s.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(s.Org), Expires: s.Clock.Now().Add(10 * time.Minute)})
	token, a := s.login(t, parent)
	if got, _ := a.get(t, "auth", "lease_duration").(json.Number).Int64(); got < 590 || got > 600 {
		t.Errorf("lease_duration is %d", got)
	}
	s.Clock.Advance(5 * time.Minute)
	r := s.do(t, "POST", "/v1/auth/token/renew-self", token, "").want(t, 200)
	if got, _ := r.get(t, "auth", "lease_duration").(json.Number).Int64(); got < 290 || got > 300 {
		t.Errorf("renewed for %d", got)
	}
	s.Clock.Advance(6 * time.Minute)
	s.do(t, "GET", s.at("data"), token, "").wantErrors(t, 403, "permission denied")
}

func TestRefusedLogins(t *testing.T) {
	s := newServer(t, nil)
	parent := s.readerToken(t)
	login := func(body string) answer {
		t.Helper()
		return s.do(t, "POST", "/v1/auth/approle/login", "", body)
	}
	pair := func(role, secret string) string {
		return toJSON(t, map[string]string{"role_id": role, "secret_id": secret})
	}
	token, _ := s.login(t, parent)
	for _, c := range []struct{ body, message string }{
		{pair("nobody", parent.Value), "invalid role or secret ID"},
		{pair("0000000000000001", parent.Value), "invalid role or secret ID"},
		{pair(parent.ID.String(), "wrong"), "invalid role or secret ID"},
		{pair(parent.ID.String(), token), "invalid role or secret ID"}, // a login token can't log in
		{pair("", parent.Value), "missing role_id"},
		{pair(parent.ID.String(), ""), "missing secret_id"},
		{``, "missing role_id"},
		{`{}`, "missing role_id"},
		{`{"role_id":1,"secret_id":"x"}`, `error converting input for field "role_id": a string is wanted`},
		{`{"role_id":"x","secret_id":{}}`, `error converting input for field "secret_id": a string is wanted`},
		{`{bad`, "error parsing JSON: invalid after 2 bytes"},
	} {
		login(c.body).wantErrors(t, 400, c.message)
	}
	// Guessing is slowed down.
	for range 20 {
		if a := login(pair(parent.ID.String(), "wrong")); a.status == 429 {
			if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 1 {
				t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
			}
			a.wantErrors(t, 429, "too many attempts to log in, try again later")
			return
		}
	}
	t.Error("twenty wrong attempts were all accepted")
}

func TestOwnToken(t *testing.T) {
	s := newServer(t, nil)
	for _, method := range []string{"GET", "POST", "PUT"} {
		a := s.op(t, method, "/v1/auth/token/lookup-self", "").want(t, 200)
		for path, want := range map[string]string{
			"id": s.OperatorToken, "ttl": "0", "renewable": "false", "expire_time": "<nil>", "policies": "[root]",
			"display_name": "admin's Token", "orphan": "true", "creation_ttl": "0", "entity_id": "",
		} {
			if got := fmt.Sprint(a.get(t, "data", path)); got != want {
				t.Errorf("%s is %s, want %s", path, got, want)
			}
		}
	}
	s.op(t, "POST", "/v1/auth/token/lookup-self", "{").want(t, 400)
	s.op(t, "POST", "/v1/auth/token/renew-self", "{}").wantErrors(t, 400, "lease is not renewable")

	ends := s.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(s.Org), Expires: s.Clock.Now().Add(time.Hour)})
	look := s.do(t, "GET", "/v1/auth/token/lookup-self", ends.Value, "").want(t, 200)
	if ttl := ttlOf(t, look); ttl < 3598 || ttl > 3600 || look.get(t, "data", "renewable") != false {
		t.Errorf("a token that expires: %s", look.text)
	}

	// A clock that is set back doesn't make the token last longer.
	s.Clock.Advance(30 * time.Minute)
	s.do(t, "GET", "/v1/auth/token/lookup-self", ends.Value, "").want(t, 200)
	s.Clock.Advance(-20 * time.Minute)
	if ttl := ttlOf(t, s.do(t, "GET", "/v1/auth/token/lookup-self", ends.Value, "")); ttl < 1798 || ttl > 1800 {
		t.Errorf("ttl is %d after the clock was set back", ttl)
	}
	s.Clock.Advance(20 * time.Minute)

	s.do(t, "POST", "/v1/auth/token/revoke-self", ends.Value, "").want(t, 204)
	s.do(t, "GET", "/v1/auth/token/lookup-self", ends.Value, "").wantErrors(t, 403, "permission denied")
	parent := s.readerToken(t)
	token, _ := s.login(t, parent)
	s.do(t, "PUT", "/v1/auth/token/revoke-self", token, "{}").want(t, 204)
	s.do(t, "GET", s.at("data"), token, "").wantErrors(t, 403, "permission denied")
	s.do(t, "GET", s.at("data"), parent.Value, "").want(t, 404)
}
