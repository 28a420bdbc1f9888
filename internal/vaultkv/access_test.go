package vaultkv_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// bodyFor returns a valid body, so that only access decides.
func bodyFor(method, pattern string) string {
	switch {
	case strings.Contains(pattern, "/data/"):
		return `{"data":{"a":"2"}}`
	case strings.Contains(pattern, "/delete/"), strings.Contains(pattern, "/undelete/"), strings.Contains(pattern, "/destroy/"):
		return `{"versions":[1]}`
	case strings.Contains(pattern, "/metadata/") && method != "GET" && method != "LIST" && method != "DELETE":
		return `{"max_versions":5}`
	case strings.HasSuffix(pattern, "capabilities-self"):
		return `{"paths":["secret/data/x"]}`
	}
	return ""
}

// TestAccess goes through the routing table: an unauthorized caller gets the
// same response whether something exists or not, and nothing happens.
func TestAccess(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	none := s.MustToken(t, keep.NewToken{}).Value
	reader, other := s.readerToken(t).Value, s.otherToken(t).Value
	limited := s.writerToken(t, "b*").Value
	version := func() string {
		h := s.history(t)
		return fmt.Sprint(h[0].Number, len(h), h[0].Hidden, h[0].Destroyed)
	}
	for _, route := range s.vault.Routes() {
		t.Run(route.Method+" "+route.Pattern, func(t *testing.T) {
			ask := func(token, org string) answer {
				t.Helper()
				target := strings.NewReplacer("{org...}", org, "{path...}", "secret/data/"+org).Replace(route.Pattern)
				return s.do(t, route.Method, target, token, bodyFor(route.Method, route.Pattern), "Content-Type", mergePatch)
			}
			before := version()
			if route.Open {
				if a := ask("", "x"); a.status == 403 {
					t.Errorf("an open route returned %d %s", a.status, a.text)
				}
				return
			}
			ask("", s.Org.String()).wantErrors(t, 403, "permission denied")
			ask("no such token", s.Org.String()).wantErrors(t, 403, "permission denied")
			if !strings.Contains(route.Pattern, "{org...}") {
				if strings.HasSuffix(route.Pattern, "-self") {
					return
				}
				if a := ask(none, "x"); a.status == 403 {
					t.Errorf("a token without permissions: %d %s", a.status, a.text)
				}
				return
			}
			for _, org := range []string{s.Org.String(), "acme", "no-such-name", "00000000deadbeef"} {
				ask(none, org).wantErrors(t, 403, "permission denied")
				ask(other, org).wantErrors(t, 403, "permission denied")
			}
			reads := slices.Contains([]string{"GET", "LIST", "SCAN"}, route.Method)
			if !reads {
				ask(reader, s.Org.String()).wantErrors(t, 403, "permission denied")
			} else if a := ask(reader, s.Org.String()); a.status == 403 {
				t.Errorf("a token that may read: %d %s", a.status, a.text)
			}
			if !reads {
				// Hidden names and whole versions are off limits.
				ask(limited, s.Org.String()).wantErrors(t, 403, "permission denied")
			}
			if after := version(); after != before {
				t.Errorf("the versions changed from %s to %s", before, after)
			}
		})
	}
}

// TestMethods checks that each path refuses the methods it doesn't support and
// lists those it does.
func TestMethods(t *testing.T) {
	s := newServer(t, nil)
	methods, open := map[string][]string{}, map[string]bool{}
	for _, route := range s.vault.Routes() {
		methods[route.Pattern] = append(methods[route.Pattern], route.Method)
		open[route.Pattern] = route.Open
	}
	if len(methods) < 40 {
		t.Fatalf("only %d patterns", len(methods))
	}
	unsupported := "1 error occurred:\n\t* unsupported operation\n\n"
	for pattern, has := range methods {
		slices.Sort(has)
		target := strings.NewReplacer("{org...}", "acme", "{path...}", "secret").Replace(pattern)
		_, kind, _ := strings.Cut(pattern, "/v1/secret/")
		root := slices.Contains([]string{"data", "metadata", "subkeys", "delete", "undelete", "destroy"}, kind)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "LIST", "SCAN", "OPTIONS", "TRACE", "FOO"} {
			if slices.Contains(has, method) {
				continue
			}
			a := s.op(t, method, target, "{}", "Content-Type", mergePatch)
			switch unknown := method == "TRACE" || method == "FOO"; {
			case unknown || open[pattern]:
				a.wantErrors(t, 405)
				s.do(t, method, target, "", "{}", "Content-Type", mergePatch).wantErrors(t, 405)
			case kind == "config" && (method == "LIST" || method == "SCAN"), root && !slices.Contains([]string{"HEAD", "LIST", "SCAN", "OPTIONS"}, method):
				if warning := fmt.Sprint(a.want(t, 404).get(t, "warnings")); !strings.Contains(warning, "K/V") {
					t.Errorf("%s %s: %s", method, target, a.text)
				}
			default:
				a.wantErrors(t, 405, unsupported)
				s.do(t, method, target, "", "{}", "Content-Type", mergePatch).wantErrors(t, 403, "permission denied")
			}
			if allow := a.header.Get("Allow"); allow != strings.Join(has, ", ") {
				t.Errorf("%s %s: Allow is %q, want %q", method, target, allow, has)
			}
		}
	}
}

// TestRefusedForAll checks requests that are refused for any caller.
func TestRefusedForAll(t *testing.T) {
	s := newServer(t, nil)
	for _, token := range []string{s.OperatorToken, "", "no such token"} {
		for _, path := range []string{s.at("data"), s.influxd("data"), s.at("metadata"), "/v1/nope/x", "/v1/sys/nope"} {
			for _, method := range []string{"POST", "PUT", "PATCH"} {
				s.do(t, method, path+"/", token, `{"data":{"a":"1"}}`, "Content-Type", mergePatch).
					wantErrors(t, 400, "cannot write to a path ending in '/'")
			}
			s.do(t, "PATCH", path, token, `{}`).wantErrors(t, 400, "mime: no media type")
			s.do(t, "PATCH", path, token, `{}`, "Content-Type", "text/plain").
				wantErrors(t, 415, "PATCH requires Content-Type of application/merge-patch+json, provided text/plain")
			s.do(t, "FOO", path, token, `{}`).wantErrors(t, 405)
		}
	}
	// An imported organization's name may end in what looks like a slash.
	op := s.Operator(t, keep.InfluxDB)
	for _, name := range []string{"a/", "a/ "} {
		if _, err := s.CreateOrganization(t.Context(), op, name, ""); keep.CodeOf(err) != keep.CodeInvalid {
			t.Errorf("creating %q: %v", name, err)
		}
	}
	o := keep.Organization{ID: acl.NewID(), Name: "a/"}
	if _, err := s.Import(t.Context(), op, keep.Import{Organizations: []keep.Organization{o}}); err != nil {
		t.Fatal(err)
	}
	s.op(t, "PUT", "/v1/secret/data/a%2F", `{"data":{"a":"1"}}`).want(t, 200)
	if got, _ := s.op(t, "GET", "/v1/secret/data/"+o.ID.String(), "").document(t); got["a"] != "1" {
		t.Errorf("the document is %v", got)
	}
}

func TestPatternOfRequests(t *testing.T) {
	s := newServer(t, nil)
	for target, want := range map[string]string{
		"/v1/secret/data/acme":           "/v1/secret/data/{org...}",
		"/v1/secret/data/a%2Fb":          "/v1/secret/data/{org...}",
		"/influxd/v1/secret/data/a/b/":   "/influxd/v1/secret/data/{org...}",
		"/v1/secret/metadata/":           "/v1/secret/metadata",
		"/v1/sys/health":                 "/v1/sys/health",
		"/v1/nope":                       "",
		"/v1/secret/undelete/acme?x=y#z": "/v1/secret/undelete/{org...}",
	} {
		r, err := http.NewRequest("GET", target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.vault.Pattern(r); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// TestWhereATokenStands reads the token from either header, X-Vault-Token
// first.
func TestWhereATokenStands(t *testing.T) {
	s := newServer(t, nil)
	good, bad := s.OperatorToken, "no such token"
	for _, c := range []struct {
		vault, authorization string
		status               int
	}{
		{good, "", 404},
		{"", "Bearer " + good, 404},
		{"", "bearer  " + good + " ", 404},
		{good, "Bearer " + bad, 404},
		{bad, "Bearer " + good, 403},
		{"", "Token " + good, 403},
		{"", "Basic " + good, 403},
		{"", good, 403},
		{"", "Bearer", 403},
		{"", "", 403},
		{strings.Repeat("x", 4096), "", 403},
	} {
		s.do(t, "GET", s.at("data"), c.vault, "", "Authorization", c.authorization).want(t, c.status)
	}
	inactive := s.readerToken(t)
	off := false
	if _, err := s.UpdateToken(t.Context(), s.Operator(t, keep.InfluxDB), inactive.ID, keep.TokenUpdate{Active: &off}); err != nil {
		t.Fatal(err)
	}
	s.do(t, "GET", s.at("data"), inactive.Value, "").wantErrors(t, 403, "permission denied")
	s.do(t, "LIST", "/v1/secret/metadata", inactive.Value, "").wantErrors(t, 403, "permission denied")
}

// TestTokenForSomeNames checks that a limited token sees and changes only its
// names.
func TestTokenForSomeNames(t *testing.T) {
	for _, mount := range []string{"", "/influxd"} {
		s := newServer(t, nil)
		data, meta := mount+s.at("data"), mount+s.at("metadata")
		s.op(t, "PUT", data, `{"data":{"db-a":"1","db-b":"1","mail":"hidden"}}`).want(t, 200)
		token := s.writerToken(t, "db-*").Value
		ask := func(method, target, body string) answer {
			t.Helper()
			return s.do(t, method, target, token, body, "Content-Type", mergePatch)
		}
		if got, _ := ask("GET", data, "").document(t); !maps.Equal(got, map[string]string{"db-a": "1", "db-b": "1"}) {
			t.Errorf("it sees %v", got)
		}
		// It replaces the whole document that it sees; the rest stays.
		ask("PUT", data, `{"data":{"db-a":"2","db-c":"1"},"options":{"cas":1}}`).want(t, 200)
		wantValues(t, s, map[string]string{"db-a": "2", "db-c": "1", "mail": "hidden"})
		ask("PATCH", data, `{"data":{"db-c":null,"db-d":"1"}}`).want(t, 200)
		wantValues(t, s, map[string]string{"db-a": "2", "db-d": "1", "mail": "hidden"})
		// A guess is refused, right or wrong, with any check-and-set.
		for _, options := range []string{`{}`, `{"cas":0}`, `{"cas":1}`, `{"cas":3}`, `{"cas":9}`} {
			for _, mail := range []string{`"hidden"`, `"wrong"`} {
				ask("PUT", data, `{"data":{"db-a":"2","db-d":"1","mail":`+mail+`},"options":`+options+`}`).wantErrors(t, 403, "permission denied")
				ask("PATCH", data, `{"data":{"mail":`+mail+`},"options":`+options+`}`).wantErrors(t, 403, "permission denied")
			}
		}
		for _, name := range []string{"mail", "never"} {
			ask("PATCH", data, `{"data":{"`+name+`":null}}`).wantErrors(t, 403, "permission denied")
		}
		ask("DELETE", data, "").wantErrors(t, 403, "permission denied")
		ask("POST", mount+s.at("delete"), `{"versions":[1]}`).wantErrors(t, 403, "permission denied")
		ask("POST", mount+s.at("destroy"), `{"versions":[1]}`).wantErrors(t, 403, "permission denied")
		ask("DELETE", meta, "").wantErrors(t, 403, "permission denied")
		ask("POST", meta, `{"max_versions":1}`).wantErrors(t, 403, "permission denied")
		wantValues(t, s, map[string]string{"db-a": "2", "db-d": "1", "mail": "hidden"})
	}
}
