package influxv2_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// TestCodes checks that each code has its status and is in the description.
func TestCodes(t *testing.T) {
	want := map[keep.Code]int{
		"internal error": 500, "not implemented": 501, "not found": 404, "conflict": 422, "invalid": 400,
		"unprocessable entity": 422, "empty value": 400, "unavailable": 503, "forbidden": 403, "too many requests": 429,
		"unauthorized": 401, "method not allowed": 405, "request too large": 413, "unsupported media type": 415,
		"precondition failed": 412,
	}
	a := newAPI(t, nil)
	described := a.description(t).Components.Schemas["Error"].Value.Properties["code"].Value.Enum
	if len(described) != len(want) || len(influxv2.Codes()) != len(want) {
		t.Errorf("%d codes, %d described, want %d", len(influxv2.Codes()), len(described), len(want))
	}
	for _, code := range influxv2.Codes() {
		if got := influxv2.StatusOf(string(code)); got != want[code] {
			t.Errorf("%s: %d, want %d", code, got, want[code])
		}
		if !slices.Contains(described, any(string(code))) {
			t.Errorf("%s is not described", code)
		}
	}
	if influxv2.StatusOf("no such code") != 500 {
		t.Error("an unknown code is not an internal error")
	}
}

func TestWriteError(t *testing.T) {
	a := newAPI(t, nil)
	r := httptest.NewRequest("GET", "/api/v2/me", nil)
	r.Header.Set("Origin", "http://example.com")
	w := httptest.NewRecorder()
	a.handler.WriteError(w, r, keep.CodeUnavailable, "the server is ending")
	want(t, w, 503, keep.CodeUnavailable)
	if body := w.Body.String(); body != "{\n\t\"code\": \"unavailable\",\n\t\"message\": \"the server is ending\"\n}" {
		t.Errorf("body %s", body)
	}
	for name, value := range map[string]string{
		"X-Influxdb-Build": "OSS", "X-Influxdb-Version": "v2.8.0+fluxkeep.1.2.3", "Cache-Control": "no-store",
		"Access-Control-Allow-Origin": "http://example.com", "Content-Type": "application/json; charset=utf-8",
	} {
		if w.Header().Get(name) != value {
			t.Errorf("%s is %q", name, w.Header().Get(name))
		}
	}
	w = httptest.NewRecorder()
	a.handler.WriteError(w, r, keep.CodeInternal, "")
	if !strings.Contains(w.Body.String(), "an internal error has occurred") {
		t.Errorf("body %s", w.Body)
	}
}

// TestVersionHeader checks that clients can parse the version as a semantic
// one.
func TestVersionHeader(t *testing.T) {
	k := keeptest.New(t, nil)
	for version, want := range map[string]string{"": "v2.8.0", "1.2.3": "v2.8.0+fluxkeep.1.2.3", "(devel)": "v2.8.0+fluxkeep.devel", "\n": "v2.8.0"} {
		w := httptest.NewRecorder()
		influxv2.New(k.Keep, influxv2.Config{Version: version}).ServeHTTP(w, httptest.NewRequest("GET", "/ping", nil))
		if got := w.Header().Get("X-Influxdb-Version"); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}

// bodyRoutes returns the routes that read a body, with a valid body.
func (a *api) bodyRoutes() map[string]string {
	org := a.Org.String()
	return map[string]string{
		"POST /api/v2/setup":                            `{"username":"x","org":"x","bucket":"x"}`,
		"POST /api/v2/users":                            `{"name":"x"}`,
		"PATCH /api/v2/users/{userID}":                  `{"name":"x"}`,
		"POST /api/v2/users/{userID}/password":          `{"password":"12345678"}`,
		"POST /api/v2/orgs":                             `{"name":"x"}`,
		"PATCH /api/v2/orgs/{orgID}":                    `{"name":"x"}`,
		"POST /api/v2/orgs/{orgID}/members":             `{"id":"0000000000000001"}`,
		"POST /api/v2/orgs/{orgID}/owners":              `{"id":"0000000000000001"}`,
		"PATCH /api/v2/orgs/{orgID}/secrets":            `{"k":"v"}`,
		"POST /api/v2/orgs/{orgID}/secrets/delete":      `{"secrets":["a"]}`,
		"PATCH /api/v2/orgs/{orgID}/secrets/values":     `{"k":"v"}`,
		"PUT /api/v2/orgs/{orgID}/secrets/values":       `{"k":"v"}`,
		"POST /api/v2/orgs/{orgID}/secrets/rollback":    `{"version":1}`,
		"POST /api/v2/orgs/{orgID}/secrets/dismiss":     `{"version":1}`,
		"PATCH /api/v2/orgs/{orgID}/secrets/settings":   `{"maxVersions":5}`,
		"POST /api/v2/authorizations":                   `{"orgID":"` + org + `","permissions":[{"action":"read","resource":{"type":"secrets"}}]}`,
		"PATCH /api/v2/authorizations/{authID}":         `{"status":"inactive"}`,
		"PUT /api/v2/me/password (session)":             `{"password":"12345678"}`,
		"PUT /api/v2/users/{userID}/password (session)": `{"password":"12345678"}`,
	}
}

// TestBadBodies checks that the same mistakes are 400 in every body, without
// effect.
func TestBadBodies(t *testing.T) {
	a := newAPI(t, nil)
	a.MustChange(t, keep.Change{Set: map[string]string{"a": "1"}})
	cookie := sessionOf(a)
	routes := a.bodyRoutes()
	for _, r := range a.handler.Routes() {
		key := r.Method + " " + r.Pattern
		bodiless := []string{"/api/v2/signin", "/api/v2/signout", rotatePath, compactPath}
		reads := r.Method == "PUT" || r.Method == "PATCH" || r.Method == "POST" && !slices.Contains(bodiless, r.Pattern)
		if _, ok := routes[key]; !ok && reads && routes[key+" (session)"] == "" {
			t.Errorf("%s is not tested", key)
		}
	}
	for key, good := range routes {
		method, pattern, _ := strings.Cut(key, " ")
		var headers []string
		if p, session := strings.CutSuffix(pattern, " (session)"); session {
			pattern, headers = p, []string{"Authorization", basic("admin", a.Password), "Cookie", cookie}
		}
		first, _, _ := strings.Cut(good[2:], `"`) // the first name in it
		for what, body := range map[string]string{
			"nothing":         " ",
			"cut short":       good[:len(good)-1],
			"trailing text":   good + " xyz",
			"two documents":   good + good,
			"array":           `[]`,
			"string":          `"k"`,
			"number":          `7`,
			"a name twice":    `{"` + first + `":"x","` + first + `":"x"}`,
			"twice, escaped":  `{"x":"1","\u0078":"2"}`,
			"invalid UTF-8":   "{\"x\":\"\xff\"}",
			"half a pair":     `{"x":"\ud800"}`,
			"control":         "{\"x\":\"\x01\"}",
			"single quotes":   `{'k':'v'}`,
			"wrong type":      `{"` + first + `":{"a":[1]}}`,
			"not JSON at all": `k=v`,
		} {
			w := a.do(t, method, a.path(pattern), body, headers...)
			if w.Code != 400 || w.Header().Get("X-Platform-Error-Code") != "invalid" {
				t.Errorf("%s, %s: %d %s", key, what, w.Code, w.Body)
			}
		}
	}
	if got := a.MustValues(t); len(got) != 1 || got["a"] != "1" {
		t.Errorf("the secrets are %v now", got)
	}
	// The valid parts of a bad body have no effect either.
	for _, body := range []string{`{"ok":"1","bad":null}`, `{"ok":"1","":"x"}`, `{"ok":"1","a\u0000":"x"}`, `{"ok":"1","` + strings.Repeat("n", keep.MaxName+1) + `":"x"}`} {
		if w := a.do(t, "PATCH", a.secrets(""), body); w.Code != 400 {
			t.Errorf("%.40s: %d", body, w.Code)
		}
	}
	for _, body := range []string{`{"secrets":["a",null]}`, `{"secrets":null} x`} {
		if w := a.do(t, "POST", a.secrets("/delete"), body); w.Code != 400 {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
	if got := a.MustValues(t); len(got) != 1 {
		t.Errorf("the secrets are %v now", got)
	}
}

// TestMessagesNameInfluxDBsTypes checks messages that clients show to users.
func TestMessagesNameInfluxDBsTypes(t *testing.T) {
	a := newAPI(t, nil)
	for _, c := range []struct{ method, path, body, message string }{
		{"POST", "/api/v2/orgs", `[]`, "failed to unmarshal json: json: cannot unmarshal array into Go value of type influxdb.Organization"},
		{"POST", "/api/v2/orgs", `{"id":1}`, "failed to unmarshal json: json: cannot unmarshal number into Go struct field Organization.id of type platform.ID"},
		{"POST", "/api/v2/orgs", `{"id":"zz"}`, "failed to unmarshal json: id must have a length of 16 bytes"},
		{"PATCH", "/api/v2/orgs/{orgID}", `{"name":1}`, "failed to unmarshal json: json: cannot unmarshal number into Go struct field OrganizationUpdate.Name of type string"},
		{"POST", "/api/v2/orgs/{orgID}/members", `{"id":"zz"}`, "id must have a length of 16 bytes"},
		{"POST", "/api/v2/orgs/{orgID}/members", `{}`, "user id missing or invalid"},
		{"POST", "/api/v2/users/{userID}/password", `{"password":1}`, "json: cannot unmarshal number into Go struct field passwordSetRequest.password of type string"},
		{"POST", "/api/v2/authorizations", `{"status":1}`, "invalid json structure: json: cannot unmarshal number into Go struct field postAuthorizationRequest.status of type influxdb.Status"},
		{"POST", "/api/v2/authorizations", `{"permissions":1}`, "invalid json structure: json: cannot unmarshal number into Go struct field postAuthorizationRequest.permissions of type []influxdb.Permission"},
		{"POST", "/api/v2/authorizations", `[]`, "invalid json structure: json: cannot unmarshal array into Go value of type authorization.postAuthorizationRequest"},
		{"POST", "/api/v2/orgs/{orgID}/secrets/delete", `[]`, "failed to unmarshal json: json: cannot unmarshal array into Go value of type secret.secretsDeleteBody"},
		{"GET", "/api/v2/orgs?after=zz", "", "decoding after: id must have a length of 16 bytes"},
		{"GET", "/api/v2/users?descending=x", "", "descending is invalid"},
		{"GET", "/api/v2/users?offset=x", "", "offset is invalid"},
		{"GET", "/api/v2/users?id=zz", "", "id must have a length of 16 bytes"},
		{"GET", "/api/v2/orgs?org=%zz", "", "the query can't be read: it must be percent-encoded"},
		{"PATCH", "/api/v2/users/{userID}", `{"status":"asleep"}`, "invalid status: must be active or inactive"},
		{"POST", "/api/v2/users/zz/password", `{"password":"12345678"}`, "invalid user ID provided in route"},
		{"PUT", "/api/v2/me/password", `{"password":"12345678"}`, "error decoding password reset request: invalid basic auth"},
	} {
		w := a.do(t, c.method, a.path(c.path), c.body)
		var got struct{ Code, Message string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 400 || got.Message != c.message {
			t.Errorf("%s %s %s: %d %q, want %q", c.method, c.path, c.body, w.Code, got.Message, c.message)
		}
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

// TestBodyLimits includes bodies that are short only while compressed.
func TestBodyLimits(t *testing.T) {
	a := newAPI(t, nil)
	a.handler.SetMaxImport(10 << 20)
	pad := func(n int) string { return strings.Repeat(" ", n) }
	for _, c := range []struct {
		method, path, body string
		packed             bool
		status             int
		code               keep.Code
	}{
		{"PATCH", a.secrets(""), `{"k":"v"}` + pad(8<<20-9), false, 204, ""},
		{"PATCH", a.secrets(""), `{"k":"v"}` + pad(8<<20), false, 413, keep.CodeTooLarge},
		{"PATCH", a.secrets(""), `{"k":"v"}` + pad(8<<20), true, 413, keep.CodeTooLarge},
		{"POST", a.secrets("/delete"), `{}` + pad(8<<20), false, 413, keep.CodeTooLarge},
		{"PATCH", a.secrets("/values"), `{"k":"v"}` + pad(9<<20), true, 200, ""},
		{"PATCH", a.secrets("/values"), `{"k":"v"}` + pad(10<<20-9), true, 200, ""},
		{"PATCH", a.secrets("/values"), `{"k":"v"}` + pad(10<<20-8), true, 413, keep.CodeTooLarge},
		{"PATCH", a.secrets("/values"), `{"k":"v"}` + pad(10<<20-8), false, 413, keep.CodeTooLarge},
		{"POST", "/api/v2/orgs", `{"name":"long"}` + pad(1<<20-15), false, 201, ""},
		{"POST", "/api/v2/orgs", `{"name":"longer"}` + pad(1<<20), false, 413, keep.CodeTooLarge},
		{"POST", "/api/v2/orgs", `{"name":"packed"}` + pad(1<<20-17), true, 201, ""},
		{"PATCH", a.secrets(""), `{"k":"` + strings.Repeat("v", keep.MaxValue) + `"}`, false, 204, ""},
		{"PATCH", a.secrets(""), `{"k":"` + strings.Repeat("v", keep.MaxValue+1) + `"}`, false, 413, keep.CodeTooLarge},
		{"PATCH", a.secrets("/values"), `{"k":"` + strings.Repeat("v", keep.MaxValue+1) + `"}`, false, 413, keep.CodeTooLarge},
	} {
		body, headers := c.body, []string(nil)
		if c.packed {
			body, headers = gzipped(c.body), []string{"Content-Encoding", "gzip"}
		}
		want(t, a.do(t, c.method, c.path, body, headers...), c.status, c.code)
	}
	for _, path := range []string{"", "/values"} {
		want(t, a.do(t, "PATCH", a.secrets(path), `{}`, "Content-Encoding", "zstd"), 415, "unsupported media type")
		want(t, a.do(t, "PATCH", a.secrets(path), `{}`, "Content-Encoding", "gzip"), 400, keep.CodeInvalid)
		want(t, a.do(t, "PATCH", a.secrets(path), gzipped(`{"k":"v"}`)[:20], "Content-Encoding", "gzip"), 400, keep.CodeInvalid)
		r := httptest.NewRequest("PATCH", a.secrets(path), io.MultiReader(strings.NewReader(`{"k":`), iotest.ErrReader(errors.New("secret network"))))
		r.Header.Set("Authorization", "Token "+a.OperatorToken)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		want(t, w, 400, keep.CodeInvalid)
		if strings.Contains(w.Body.String(), "network") {
			t.Errorf("internals in %s", w.Body)
		}
	}
}

// TestUnavailable checks that health reports that the server isn't ready, but
// not why.
func TestUnavailable(t *testing.T) {
	broken := influxv2.New(keeptest.New(t, nil).Keep, influxv2.Config{Ready: func() error { return errors.New("open /var/lib/x: no such file") }})
	for _, path := range []string{"/health", "/ready"} {
		w := httptest.NewRecorder()
		broken.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "/var/lib") || !strings.Contains(w.Body.String(), "not ready") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestMethods checks that HEAD is GET without a body, and that unsupported
// methods get 405 with the supported ones.
func TestMethods(t *testing.T) {
	a := newAPI(t, nil)
	has := map[string][]string{}
	for _, r := range a.handler.Routes() {
		has[r.Pattern] = append(has[r.Pattern], r.Method)
		if r.Method == "GET" {
			has[r.Pattern] = append(has[r.Pattern], "HEAD")
		}
	}
	for pattern, methods := range has {
		slices.Sort(methods)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} {
			if slices.Contains(methods, method) {
				continue
			}
			w := a.do(t, method, a.path(pattern), "")
			want(t, w, 405, "method not allowed")
			if allow := w.Header().Get("Allow"); allow != strings.Join(methods, ", ") {
				t.Errorf("%s: Allow %q, want %q", pattern, allow, methods)
			}
		}
	}
	server := httptest.NewServer(a)
	defer server.Close()
	for _, path := range []string{a.secrets(""), "/api/v2/me", "/health", "/api/v2", "/api/v2/swagger.json"} {
		var length [2]int64
		for i, method := range []string{"GET", "HEAD"} {
			r, err := http.NewRequest(method, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Token "+a.OperatorToken)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body := readAll(t, resp.Body)
			resp.Body.Close()
			length[i] = resp.ContentLength
			if resp.StatusCode/100 != 2 || (method == "HEAD") && body != "" {
				t.Errorf("%s %s: %d %q", method, path, resp.StatusCode, body)
			}
		}
		if length[0] != length[1] {
			t.Errorf("%s: Content-Length %v", path, length)
		}
	}
}

// TestCORS checks that no site can use a user's session.
func TestCORS(t *testing.T) {
	a := newAPI(t, nil)
	for _, method := range []string{"OPTIONS", "GET"} {
		w := a.do(t, method, a.secrets(""), "", "Origin", "http://example.com")
		if w.Header().Get("Access-Control-Allow-Origin") != "http://example.com" || w.Header().Get("Access-Control-Allow-Credentials") != "" || w.Header().Get("Vary") != "Origin" {
			t.Errorf("%s: %v", method, w.Header())
		}
	}
	for _, path := range []string{"/health", "/api/v2x"} {
		if w := a.do(t, "GET", path, "", "Origin", "http://example.com"); w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, w.Header())
		}
	}
}

// FuzzQuery checks that any parameters result in a list or an error of the
// caller, never an internal error.
func FuzzQuery(f *testing.F) {
	a := newAPI(f, nil)
	for _, q := range []string{"", "limit=1", "offset=-1", "after=zz", "limit=99999999999999999999", "org=%zz", "org=acme&org=x", "orgID=0000000000000000", "userID=" + a.Admin.String(), "name=a;b", "wait=1ns&name=\x00", "descending=TRUE", "id=&name=admin"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if strings.Contains(query, "wait=") {
			query = strings.ReplaceAll(query, "wait=", "")
		}
		for _, path := range []string{"/api/v2/orgs", "/api/v2/users", "/api/v2/authorizations", a.secrets("/values"), a.secrets("")} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL.RawQuery = query
			r.Header.Set("Authorization", "Token "+a.OperatorToken)
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if w.Code != 200 && w.Code != 400 && w.Code != 404 {
				t.Fatalf("%s?%q: %d %s", path, query, w.Code, w.Body)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s?%q: %s", path, query, w.Body)
			}
		}
	})
}

// failing is a store whose changes fail on demand.
type failing struct {
	store.Store
	fail atomic.Bool
}

func (f *failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.fail.Load() {
		return fmt.Errorf("write /var/lib/fluxkeep/000001.log: no space left: %w", store.ErrUnavailable)
	}
	return f.Store.Update(ctx, fn)
}

// TestFullDisk checks that changes are refused while reads continue.
func TestFullDisk(t *testing.T) {
	f := &failing{}
	a := newAPI(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { f.Store = s; return f }})
	a.MustChange(t, keep.Change{Set: map[string]string{"a": "1"}})
	f.fail.Store(true)
	for _, q := range [][]string{
		{"PATCH", a.secrets(""), `{"a":"2"}`}, {"DELETE", a.secrets("/a"), ""}, {"POST", a.secrets("/delete"), `{"secrets":["a"]}`},
		{"PATCH", a.secrets("/values"), `{"a":"2"}`}, {"PUT", a.secrets("/values"), `{}`}, {"POST", a.secrets("/rollback"), `{"version":1}`},
		{"POST", "/api/v2/orgs", `{"name":"x"}`}, {"POST", "/api/v2/users", `{"name":"x"}`}, {"DELETE", "/api/v2/users/" + a.Admin.String(), ""},
	} {
		w := a.do(t, q[0], q[1], q[2])
		want(t, w, 503, keep.CodeUnavailable)
		if strings.Contains(w.Body.String(), "/var/lib") || strings.Contains(w.Body.String(), "space") {
			t.Errorf("%s %s: internals in %s", q[0], q[1], w.Body)
		}
	}
	if w := a.do(t, "GET", a.secrets("/values"), ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"1"`) {
		t.Errorf("reading: %d %s", w.Code, w.Body)
	}
	f.fail.Store(false)
	want(t, a.do(t, "PATCH", a.secrets(""), `{"a":"3"}`), 204, "")
}

// TestNothingIsLeftBehind checks that no secret, token or password sent
// through this protocol, even in a refused request, is left in a log or file.
func TestNothingIsLeftBehind(t *testing.T) {
	const marker, name = "marker-4711", "name-4711"
	a := newAPI(t, nil)
	a.do(t, "PATCH", a.secrets(""), `{"`+name+`":"`+marker+`"}`)
	a.do(t, "PATCH", a.secrets(""), `{"`+name+`":"`+marker+`","`+name+`":"`+marker+`"}`)
	a.do(t, "PATCH", a.secrets("/values"), `{"`+name+`-2":"`+marker+`"}`)
	a.do(t, "PATCH", a.secrets("/values"), `{"`+name+`":"`+marker+`" "`+marker+`"`)
	a.do(t, "GET", a.secrets("/values"), "")
	a.do(t, "GET", "/api/v2/me", "", "Authorization", "Token "+marker)
	a.do(t, "GET", "/api/v2/me", "", "Authorization", "", "Cookie", "influxdb-oss-session="+marker)
	a.do(t, "POST", "/api/v2/signin", "", "Authorization", basic("admin", marker))
	a.do(t, "POST", "/api/v2/users/"+a.Admin.String()+"/password", `{"password":"`+marker+`"}`)
	cookie := sessionOf(&api{&keeptest.Kit{Keep: a.Keep, Password: marker}, a.handler})
	if cookie == "" {
		t.Fatal("the new password does not work")
	}
	a.do(t, "PUT", "/api/v2/me/password", `{"password":"`+marker+`-2"}`, "Authorization", basic("admin", marker), "Cookie", cookie)
	_, session, _ := strings.Cut(cookie, "=")
	a.CheckHidden(t, []string{marker, a.OperatorToken, a.Password, session}, []string{name})
}
