package influxv2_test

import (
	"net/http"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"golang.org/x/crypto/bcrypt"
)

// importUser imports a user whose password InfluxDB may not accept any more.
func (a *api) importUser(t *testing.T, name, password string, active bool) keep.ID {
	t.Helper()
	hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	u := keep.ImportUser{User: keep.User{ID: acl.NewID(), Name: name, Active: active}, Password: hashed}
	if _, err := a.Import(t.Context(), a.Operator(t, keep.InfluxDB), keep.Import{Users: []keep.ImportUser{u}}); err != nil {
		t.Fatal(err)
	}
	return u.ID
}

// TestOutdatedPassword: a user who can't sign in with an imported password can
// replace it, and nobody else can do the same.
func TestOutdatedPassword(t *testing.T) {
	a := newAPI(t, nil)
	a.importUser(t, "ann", "short", true)
	a.importUser(t, "off", "short", false)
	a.importUser(t, "bob", "long enough", true)
	const path = "/api/v2/me/password"
	signIn := func(name, password string, want int) {
		t.Helper()
		if w := a.do(t, "POST", "/api/v2/signin", "", "Authorization", basic(name, password)); w.Code != want {
			t.Errorf("%s signs in: %d %s", name, w.Code, w.Body)
		}
	}
	signIn("ann", "short", http.StatusForbidden)
	first := a.do(t, "PUT", path, `{"password":"correct horse"}`, "Authorization", basic("nobody", "short"))
	for name, tt := range map[string]struct {
		auth, body string
		want       int
	}{
		"nobody":                      {basic("nobody", "short"), `{"password":"correct horse"}`, 401},
		"a wrong password":            {basic("ann", "wrong"), `{"password":"correct horse"}`, 401},
		"a password that is allowed":  {basic("bob", "long enough"), `{"password":"correct horse"}`, 401},
		"an inactive user":            {basic("off", "short"), `{"password":"correct horse"}`, 401},
		"a body that isn't":           {basic("ann", "short"), `{`, 401},
		"a new one that is too short": {basic("ann", "short"), `{"password":"short"}`, 400},
		"a token as well":             {"Token " + a.OperatorToken, `{"password":"correct horse"}`, 400},
	} {
		a.Clock.Advance(1 << 40) // attempts are limited
		w := a.do(t, "PUT", path, tt.body, "Authorization", tt.auth)
		if w.Code != tt.want || tt.want == 401 && w.Body.String() != first.Body.String() {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	a.Clock.Advance(1 << 40)
	if w := a.do(t, "PUT", path, `{"password":"correct horse"}`, "Authorization", basic("ann", "short")); w.Code != http.StatusNoContent {
		t.Errorf("the right one: %d %s", w.Code, w.Body)
	}
	signIn("ann", "correct horse", http.StatusNoContent)
	signIn("bob", "long enough", http.StatusNoContent)
	a.Clock.Advance(1 << 40)
	if w := a.do(t, "PUT", path, `{"password":"another horse"}`, "Authorization", basic("ann", "short")); w.Code != http.StatusUnauthorized {
		t.Errorf("the old one again: %d %s", w.Code, w.Body)
	}
}

// TestStaleCookie ignores a session's cookie that is stale if there is a valid one.
func TestStaleCookie(t *testing.T) {
	a := newAPI(t, nil)
	key := func() string {
		t.Helper()
		w := a.do(t, "POST", "/api/v2/signin", "", "Authorization", basic("admin", a.Password))
		return w.Result().Cookies()[0].Value
	}
	const name = "influxdb-oss-session="
	valid, other := key(), key()
	for cookies, want := range map[string]int{
		name + "stale; " + name + valid:      200,
		name + valid + "; " + name + "stale": 200,
		name + "; x=y; " + name + valid:      200,
		name + "stale; " + name + "stale":    401,
		name + "stale":                       401,
		name + "a; " + name + "b; " + name + "c; " + name + "d; " + name + valid: 401, // too many to try
	} {
		if w := a.do(t, "GET", "/api/v2/me", "", "Authorization", "", "Cookie", cookies); w.Code != want {
			t.Errorf("%s: %d, want %d", cookies, w.Code, want)
		}
	}
	if w := a.do(t, "POST", "/api/v2/signout", "", "Authorization", "", "Cookie", name+"stale; "+name+valid); w.Code != http.StatusNoContent {
		t.Errorf("sign out: %d %s", w.Code, w.Body)
	}
	for k, want := range map[string]int{valid: 401, other: 200} {
		if w := a.do(t, "GET", "/api/v2/me", "", "Authorization", "", "Cookie", name+k); w.Code != want {
			t.Errorf("after the sign-out: %d, want %d", w.Code, want)
		}
	}
}
