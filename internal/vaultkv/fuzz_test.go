package vaultkv_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzWrite sends bodies to every route that takes one. If a body is accepted,
// the data must read back as sent, and as encoding/json decodes it; if it is
// rejected, nothing may change.
func FuzzWrite(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `"x"`, `{"data":null}`, `{"data":{}}`, `{"data":{"a":"1"}}`, `{"DATA":{"a":"1"}}`,
		`{"data":{"a":1}}`, `{"data":{"a":null}}`, `{"data":{"a":"1","a":"2"}}`, `{"data":{"a":"\ud83d\ude00\u0000"}}`,
		`{"data":{"a":"\ud800"}}`, "{\"data\":{\"\xff\":\"1\"}}", `{"data":{"":"1"}}`, `{"data":{"a":"1"}} x`,
		`{"data":{"a":"1"},"options":{"cas":0}}`, `{"data":{"a":"1"},"options":{"cas":"0x1"}}`, `{"data":{"a":"1"},"options":{"cas":1e2}}`,
		`{"data":{"a":"1"},"options":{"cas":-1}}`, `{"data":{"a":"1"},"options":null,"version":3}`, `{"data":{"a":"1"},"options":[]}`,
		`{"versions":[1,"2"]}`, `{"versions":"1,2"}`, `{"versions":18446744073709551616}`, `{"versions":[[]]}`, `{"versions":null}`,
		`{"max_versions":"3","cas_required":"true","delete_version_after":"3h","custom_metadata":{"a":"b"}}`,
		`{"delete_version_after":"1d"}`, `{"delete_version_after":9223372036854775807}`, `{"custom_metadata":{"a":null}}`,
		`{"role_id":"x","secret_id":"y"}`, `{"role_id":[]}`, `{"increment":"1h"}`, `{"paths":["secret/data/acme","x"]}`, `{"paths":"a,b"}`, `{"path":{}}`,
		strings.Repeat(`{"data":`, 1000), strings.Repeat(`[`, 20000),
	} {
		f.Add(seed)
	}
	s := newServer(f, nil)
	f.Fuzz(func(t *testing.T, text string) {
		s.op(t, "DELETE", s.at("metadata"), "").want(t, 204)
		want := map[string]string{"before": "1"}
		s.op(t, "PUT", s.at("data"), body(t, want, 0)).want(t, 200)
		for _, route := range s.vault.Routes() {
			if route.Method != "PUT" && route.Method != "PATCH" || strings.HasSuffix(route.Pattern, "revoke-self") {
				continue
			}
			target := strings.ReplaceAll(route.Pattern, "{org...}", s.Org.String())
			a := s.op(t, route.Method, target, text, "Content-Type", mergePatch)
			if a.status >= 500 {
				t.Fatalf("%s %s: %d %s", route.Method, target, a.status, a.text)
			}
			if a.status >= 400 {
				if _, ok := a.json["errors"].([]any); !ok {
					t.Fatalf("%s %s: %d %s", route.Method, target, a.status, a.text)
				}
			}
			if !strings.Contains(target, "/data/") {
				continue
			}
			merging := strings.HasPrefix(target, "/influxd/") && route.Method == "PUT"
			if a.status == 200 && !merging {
				want = applied(t, want, text, route.Method == "PATCH")
			}
			s.op(t, "POST", s.at("undelete"), fmt.Sprintf(`{"versions":[%d]}`, 1)).want(t, 204)
			if now := s.op(t, "GET", s.at("data"), ""); now.status == 200 {
				got, _ := now.document(t)
				if a.status == 200 && merging {
					// Names missing from the body may still exist.
					want = maps.Clone(got)
					maps.Copy(want, applied(t, nil, text, false))
				}
				if !maps.Equal(got, want) {
					t.Fatalf("after %s %s (%d) the document is %q, want %q", route.Method, target, a.status, got, want)
				}
			}
		}
	})
}

// applied returns a document after an accepted write, decoded with
// encoding/json alone.
func applied(t *testing.T, before map[string]string, text string, patch bool) map[string]string {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Fatalf("invalid UTF-8 was accepted: %q", text)
	}
	var body map[string]json.RawMessage
	var data map[string]*string
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%q was accepted: %v", text, err)
	}
	if err := json.Unmarshal(body["data"], &data); err != nil {
		t.Fatalf("%q was accepted: %v", text, err)
	}
	after := map[string]string{}
	if patch {
		after = maps.Clone(before)
	}
	for name, value := range data {
		switch {
		case value != nil:
			after[name] = *value
		case patch:
			delete(after, name)
		default:
			t.Fatalf("null was accepted as a value: %q", text)
		}
	}
	return after
}

// FuzzPaths sends request lines through the real mux: only doubled slashes may
// redirect, none may fail, and an organization's name must be decoded exactly once.
func FuzzPaths(f *testing.F) {
	for _, seed := range []string{
		"/v1/secret/data/acme", "/v1/secret/data/acme/", "/v1/secret/data/", "/v1/secret/data", "/v1//secret/data/acme", "/v1/secret//data/acme",
		"/v1/secret/data/a%2Fb", "/v1/secret/data/%252F", "/v1/secret/data/..", "/v1/secret/data/%2E%2E/x", "/v1/secret/../secret/data/acme",
		"/v1/./secret/data/acme", "/v1/secret/data/%00", "/v1/secret/data/%ff", "/v1/secret/data/acme?version=1", "/v1/secret/data/acme?version=%zz",
		"/v1/secret/metadata/?list=true", "/v1/secret/metadata?list=x", "/v1/sys/internal/ui/mounts/secret/data/acme", "/v1/sys/internal/ui/mounts/",
		"/influxd/v1/secret/data/acme", "/influxd/v1//", "/influxd%2Fv1/secret/data/acme", "/v1/sys/health?activecode=299", "//", "/", "/v1/{org...}",
		"http://other/v1/secret/data/acme", "/v1/secret/data/acme;x=y", "/v1/secret/data/\u00d6l", "*", "/v1/sys/health?activecode=-1&list=1",
	} {
		f.Add("GET", seed)
		f.Add("LIST", seed)
	}
	f.Add("DELETE", "/v1/secret/metadata/acme")
	f.Add("OPTIONS", "*")
	s := newServer(f, nil)
	f.Fuzz(func(t *testing.T, method, target string) {
		if strings.HasPrefix(method, "P") && strings.Contains(target, "revoke-self") {
			t.Skip("it revokes the token of the other requests")
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: test\r\n\r\n")))
		if err != nil {
			t.Skip("net/http rejects it too")
		}
		if !strings.HasPrefix(r.URL.Path, "/") {
			t.Skip("it is outside the API")
		}
		for _, token := range []string{s.OperatorToken, ""} {
			r := r.Clone(t.Context())
			r.Header.Set("X-Vault-Token", token)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			// The query may choose the status.
			if w.Code == 307 && strings.Contains(r.URL.EscapedPath(), "//") {
				continue
			}
			if (w.Code >= 300 && w.Code < 400 || w.Code >= 500) && !strings.Contains(target, "code=") {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("not JSON: %q", w.Body)
			}
			if token == "" && strings.Contains(w.Body.String(), `"data":{"data"`) {
				t.Fatalf("responded without a caller: %s", w.Body)
			}
		}
		rest, found := strings.CutPrefix(r.URL.EscapedPath(), "/v1/secret/data/")
		name, err := url.PathUnescape(strings.TrimSuffix(rest, "/"))
		if !found || err != nil || name == "" || strings.Contains(rest, "//") || strings.HasPrefix(rest, "/") {
			return
		}
		if pattern := s.vault.Pattern(r); pattern != "/v1/secret/data/{org...}" {
			t.Fatalf("%q has the pattern %q", target, pattern)
		}
	})
}
