package influxv2_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// path fills the wildcards of a pattern with valid IDs.
func (a *api) path(pattern string) string {
	return strings.NewReplacer("{orgID}", a.Org.String(), "{userID}", a.Admin.String(), "{authID}", "0000000000000001", "{secretID}", "k").Replace(pattern)
}

const refusedLine = `{"code":"unauthorized","message":"unauthorized access"}`

// TestNobody checks that without a caller only open routes work.
func TestNobody(t *testing.T) {
	a := newAPI(t, nil)
	for _, r := range a.handler.Routes() {
		if r.Open {
			continue
		}
		for _, header := range []string{"", "Token nope", basic("admin", a.Password), a.OperatorToken, "Token  " + a.OperatorToken} {
			w := a.do(t, r.Method, a.path(r.Pattern), `{}`, "Authorization", header)
			if w.Code != 401 || w.Body.String() != refusedLine {
				t.Errorf("%s %s with %q: %d %s", r.Method, r.Pattern, header, w.Code, w.Body)
			}
		}
		// Nor does an unsupported method reveal anything.
		if w := a.do(t, "BREW", a.path(r.Pattern), "", "Authorization", ""); w.Code != 401 {
			t.Errorf("BREW %s: %d", r.Pattern, w.Code)
		}
	}
	for _, path := range []string{"/api/v2/nope", "/api/v2/buckets", "/api/v2/orgs/zz/secrets", "/api/v2/../v1", "/api/v2//orgs"} {
		if w := a.do(t, "GET", path, "", "Authorization", ""); w.Code != 401 || w.Body.String() != refusedLine {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := a.do(t, "GET", "/nope", "", "Authorization", ""); w.Code != 404 {
		t.Errorf("outside the API: %d", w.Code)
	}
}

func TestTokenIn(t *testing.T) {
	for _, c := range []struct {
		header, token string
		ok            bool
	}{
		{"Token abc", "abc", true},
		{"Bearer abc", "abc", true},
		{"tOkEn abc", "abc", true},
		{"bearer abc", "abc", true},
		{"Token  abc", " abc", true},
		{"Token a b", "a b", true},
		{"Token abc ", "abc ", true},
		{"", "", false},
		{"Token", "", false},
		{"Token ", "", false},
		{"Bearer ", "", false},
		{"abc", "", false},
		{" Token abc", "", false},
		{"Token\tabc", "", false},
		{"Tokenabc", "", false},
		{"Basic YTpi", "", false},
		{"Digest abc", "", false},
	} {
		if token, ok := influxv2.TokenIn(c.header); token != c.token || ok != c.ok {
			t.Errorf("%q: %q, %v", c.header, token, ok)
		}
	}
}

func FuzzTokenIn(f *testing.F) {
	for _, s := range []string{"Token abc", "bearer x", "Token", "Token  a", "Basic YTpi", "", "ToKeN \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := influxv2.TokenIn(header)
		if !ok {
			if token != "" {
				t.Fatalf("%q: %q passed as a token", header, token)
			}
			return
		}
		scheme := strings.TrimSuffix(header, token)
		if token == "" || !(strings.EqualFold(scheme, "Token ") || strings.EqualFold(scheme, "Bearer ")) {
			t.Fatalf("%q: %q after %q", header, token, scheme)
		}
	})
}

// TestHeaderAndCookie checks that a token takes precedence over a session, and
// that anything else in the header does not.
func TestHeaderAndCookie(t *testing.T) {
	a := newAPI(t, nil)
	cookie := sessionOf(a)
	for _, c := range []struct {
		authorization, cookie string
		status                int
	}{
		{"", cookie, 200},
		{"Token nope", cookie, 401},
		{"Bearer nope", cookie, 401},
		{"Token " + a.OperatorToken, "influxdb-oss-session=nope", 200},
		{basic("admin", "wrong"), cookie, 200},
		{"Digest x", cookie, 200},
		{"Token", cookie, 200},
		{"", "influxdb-oss-session=nope", 401},
		{"", "influxdb-oss-session=", 401},
		{"", "session" + cookie, 401},
	} {
		if w := a.do(t, "GET", "/api/v2/me", "", "Authorization", c.authorization, "Cookie", c.cookie); w.Code != c.status {
			t.Errorf("Authorization %q, Cookie %.30q: status %d, want %d", c.authorization, c.cookie, w.Code, c.status)
		}
	}
}

// TestSessionFromOtherOrigins checks that no site can make a browser change
// anything with a user's session. Tokens belong to the client, on whatever
// page it runs.
func TestSessionFromOtherOrigins(t *testing.T) {
	a := newAPI(t, nil)
	cookie := sessionOf(a)
	for _, c := range []struct {
		method, header, value string
		status                int
	}{
		{"PATCH", "", "", 204}, // not a browser
		{"PATCH", "Sec-Fetch-Site", "same-origin", 204},
		{"PATCH", "Sec-Fetch-Site", "none", 204},
		{"PATCH", "Sec-Fetch-Site", "same-site", 401},
		{"PATCH", "Sec-Fetch-Site", "cross-site", 401},
		{"PATCH", "Origin", "http://example.com", 204}, // the server's
		{"PATCH", "Origin", "http://evil.example", 401},
		{"PATCH", "Origin", "null", 401},
		{"GET", "Origin", "http://evil.example", 200}, // which can't read the answer
	} {
		body := ""
		if c.method == "PATCH" {
			body = `{"a":"1"}`
		}
		headers := []string{"Cookie", cookie, "Authorization", ""}
		if c.header != "" {
			headers = append(headers, c.header, c.value)
		}
		if w := a.do(t, c.method, a.secrets(""), body, headers...); w.Code != c.status {
			t.Errorf("%s, %s: %s: status %d, want %d", c.method, c.header, c.value, w.Code, c.status)
		}
		want := 200
		if c.method == "PATCH" {
			want = 204
		}
		if w := a.do(t, c.method, a.secrets(""), body, append(headers, "Authorization", "Token "+a.OperatorToken)...); w.Code != want {
			t.Errorf("%s with a token, %s: %s: status %d", c.method, c.header, c.value, w.Code)
		}
	}
	if w := a.do(t, "POST", "/api/v2/signout", "", "Cookie", cookie, "Origin", "http://evil.example"); w.Code != 401 {
		t.Errorf("signed out by another site: status %d", w.Code)
	}
	if w := a.do(t, "POST", "/api/v2/signout", "", "Cookie", cookie); w.Code != 204 {
		t.Errorf("signed out: status %d", w.Code)
	}
}

func TestSignInCookie(t *testing.T) {
	for _, secure := range []bool{false, true} {
		k := keeptest.New(t, nil)
		h := influxv2.New(k.Keep, influxv2.Config{Secure: func(*http.Request) bool { return secure }})
		r := httptest.NewRequest("POST", "/api/v2/signin", nil)
		r.SetBasicAuth("admin", k.Password)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		cookies := w.Result().Cookies()
		if w.Code != 204 || len(cookies) != 1 {
			t.Fatalf("status %d, cookies %v", w.Code, cookies)
		}
		c := cookies[0]
		if c.Name != "influxdb-oss-session" || c.Path != "/api/" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure != secure || c.Expires.Before(time.Now()) {
			t.Errorf("cookie %v", c)
		}
	}
}

// TestSignInLimit checks that guessing is limited, with a Retry-After in
// seconds.
func TestSignInLimit(t *testing.T) {
	a := newAPI(t, nil)
	for range 100 {
		w := a.do(t, "POST", "/api/v2/signin", "", "Authorization", basic("admin", "wrong"))
		if w.Code == 401 {
			continue
		}
		want(t, w, 429, keep.CodeTooMany)
		if s := w.Header().Get("Retry-After"); s == "" || s == "0" || strings.Trim(s, "0123456789") != "" {
			t.Errorf("Retry-After %q", s)
		}
		return
	}
	t.Error("100 wrong passwords without a limit")
}

// TestExpiredAndLimitedTokens checks token features that InfluxDB lacks.
func TestExpiredAndLimitedTokens(t *testing.T) {
	a := newAPI(t, nil)
	a.MustChange(t, keep.Change{Set: map[string]string{"db_password": "1", "other": "2"}})
	limited := a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org), Names: []string{"db_*"}, Expires: a.Clock.Now().Add(time.Hour)})
	as := []string{"Authorization", "Token " + limited.Value}
	if w := a.do(t, "GET", a.secrets(""), "", as...); !strings.Contains(w.Body.String(), "db_password") || strings.Contains(w.Body.String(), "other") {
		t.Errorf("list: %s", w.Body)
	}
	if w := a.do(t, "GET", a.secrets("/values"), "", as...); w.Body.String() != "{\n\t\"db_password\": \"1\"\n}" {
		t.Errorf("values: %s", w.Body)
	}
	want(t, a.do(t, "PATCH", a.secrets(""), `{"other":"3"}`, as...), 403, keep.CodeForbidden)
	want(t, a.do(t, "DELETE", a.secrets("/other"), "", as...), 403, keep.CodeForbidden)
	want(t, a.do(t, "POST", a.secrets("/rollback"), `{"version":1}`, as...), 403, keep.CodeForbidden)
	if w := a.do(t, "GET", "/api/v2/authorizations/"+limited.ID.String(), ""); !strings.Contains(w.Body.String(), `"db_*"`) || !strings.Contains(w.Body.String(), `"expiresAt": "`) {
		t.Errorf("token: %s", w.Body)
	}
	a.Clock.Advance(2 * time.Hour)
	want(t, a.do(t, "GET", a.secrets(""), "", as...), 401, keep.CodeUnauthorized)
}

// TestLimitsMustBeUnderstood checks that a misspelled or empty limit never
// creates an unlimited token. Fields from InfluxDB's description are accepted.
func TestLimitsMustBeUnderstood(t *testing.T) {
	a := newAPI(t, nil)
	create := func(format string) *httptest.ResponseRecorder {
		body := strings.ReplaceAll(`{"orgID":"ORG","permissions":[{"action":"read","resource":{"type":"secrets","orgID":"ORG"`+format, "ORG", a.Org.String())
		return a.do(t, "POST", "/api/v2/authorizations", body)
	}
	for _, limit := range []string{
		`}}],"names":[]}`, `}}],"names":[""]}`, `}}],"name":"db_*"}`, `}}],"Name":["db_*"]}`, `}}],"expires":"2030-01-01T00:00:00Z"}`,
		`}}],"expires_at":"2030-01-01T00:00:00Z"}`, `}}],"expiresAt":""}`, `}}],"expiresAt":0}`, `}}],"ttl":"1h"}`,
		`},"names":["db_*"]}]}`, `,"names":["db_*"]}}]}`,
		`}}],"expiresAt":"0001-01-01T00:00:00Z"}`, `}}],"expiresAt":"0001-01-01T01:00:00+01:00"}`,
		`,"name":"db_*"}}]}`, `,"name":["db_*"]}}]}`, `,"name":"acme"}}]}`,
		`}},{"action":"read","resource":{"type":"secrets","org":"acme"}}]}`,
		`}},{"action":"read","resource":{"type":"orgs","name":"acme"}}]}`,
	} {
		if w := create(limit); w.Code != 400 {
			t.Errorf("%s: %d %s", limit, w.Code, w.Body)
		}
	}
	token := "/api/v2/authorizations/" + a.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(a.Org)}).ID.String()
	for _, limit := range []string{`"names":["db_*"]`, `"names":[]`, `"Names":["db_*"]`, `"expiresAt":"2030-01-01T00:00:00Z"`, `"expires":"2030-01-01T00:00:00Z"`} {
		if w := a.do(t, "PATCH", token, `{"description":"x",`+limit+`}`); w.Code != 400 {
			t.Errorf("PATCH with %s: %d %s", limit, w.Code, w.Body)
		}
	}
	if w := a.do(t, "PATCH", token, a.do(t, "GET", token, "").Body.String()); w.Code != 200 {
		t.Errorf("PATCH with a whole token: %d %s", w.Code, w.Body)
	}
	for _, whole := range []string{
		`}}]}`, `}}],"status":"active","description":"x","userID":"` + a.Admin.String() + `"}`,
		`,"org":"acme"}},{"action":"read","resource":{"type":"orgs","id":"ORG","name":"acme"}}],"id":"0000000000000001","token":"x","org":"acme","user":"admin","links":{"self":"/x"},"createdAt":"2020-01-01T00:00:00Z","updatedAt":null}`,
		`}}],"names":null,"expiresAt":null}`,
	} {
		if w := create(whole); w.Code != 201 {
			t.Errorf("%s: %d %s", whole, w.Code, w.Body)
		}
	}
	if list := a.do(t, "GET", "/api/v2/authorizations", ""); strings.Contains(list.Body.String(), `"id": "0000000000000001"`) {
		t.Error("a read-only field was accepted")
	}
}

// TestConfigIsForOperators checks that powerful tokens aren't enough.
func TestConfigIsForOperators(t *testing.T) {
	a := newAPI(t, nil)
	if w := a.do(t, "GET", "/api/v2/config", ""); w.Code != 200 || w.Body.String() != "{\n\t\"config\": {\n\t\t\"data-dir\": \"data\"\n\t}\n}" {
		t.Errorf("operator: %d %s", w.Code, w.Body)
	}
	owner := a.MustToken(t, keep.NewToken{Permissions: acl.Owner(a.Org)})
	want(t, a.do(t, "GET", "/api/v2/config", "", "Authorization", "Token "+owner.Value), 401, keep.CodeUnauthorized)
}

// TestRefusalsAreAudited includes requests without credentials.
func TestRefusalsAreAudited(t *testing.T) {
	a := newAPI(t, nil)
	for i, headers := range [][]string{
		{"Authorization", ""},
		{"Authorization", "Token nope"},
		{"Authorization", "", "Cookie", "influxdb-oss-session=nope"},
	} {
		before := auditLines(t, a)
		a.do(t, "GET", a.secrets(""), "", headers...)
		if after := auditLines(t, a); len(after) != len(before)+1 || !strings.Contains(after[len(after)-1], `"refused"`) || !strings.Contains(after[len(after)-1], `"req-1"`) {
			t.Errorf("%d: %d lines, then %d, the last %s", i, len(before), len(after), after[len(after)-1])
		}
	}
	before := auditLines(t, a)
	a.do(t, "GET", a.secrets(""), "")
	if after := auditLines(t, a); len(after) != len(before)+1 || !strings.Contains(after[len(after)-1], `"trace-1"`) {
		t.Errorf("%d lines, then %d, the last %s", len(before), len(after), after[len(after)-1])
	}
}

func auditLines(t *testing.T, a *api) []string {
	t.Helper()
	data, err := os.ReadFile(a.Audit)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}
