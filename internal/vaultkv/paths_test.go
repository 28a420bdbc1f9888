package vaultkv_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// TestPaths finds an organization by ID and by name, with any characters in
// it.
func TestPaths(t *testing.T) {
	s := newServer(t, nil)
	op := s.Operator(t, keep.InfluxDB)
	for _, c := range []struct{ name, path string }{
		{"acme", "acme"},
		{"a b", "a%20b"},
		{"a/b", "a%2Fb"},
		{"a/b", "a/b"},
		{"50%", "50%25"},
		{"%2F", "%252F"},
		{"..", ".."},
		{"a/../b", "a/../b"},
		{"Öl?", "%C3%96l%3F"},
		{"data", "data"},
	} {
		orgs, err := s.Organizations(t.Context(), op, keep.OrganizationFilter{Name: c.name})
		if err != nil {
			// Import it, because the API doesn't accept all these names.
			o := keep.Organization{ID: acl.NewID(), Name: c.name}
			if _, err := s.Import(t.Context(), op, keep.Import{Organizations: []keep.Organization{o}}); err != nil {
				t.Fatal(err)
			}
			orgs = []keep.Organization{o}
		}
		id := orgs[0].ID
		body := `{"data":{"name":` + toJSON(t, c.name) + `}}`
		s.op(t, "PUT", "/v1/secret/data/"+c.path, body).want(t, 200)
		for _, path := range []string{c.path, c.path + "/", id.String(), strings.ToUpper(id.String())} {
			if got, _ := s.op(t, "GET", "/v1/secret/data/"+path, "").document(t); got["name"] != c.name {
				t.Errorf("%s is %v, want %q", path, got, c.name)
			}
		}
	}
	for _, path := range []string{
		"/v1/secret/data/", "/v1/secret/data/nobody", "/v1/secret/data/acme%20", "/v1/secret/data/%20acme",
		"/v1/secret/data/%20" + s.Org.String(), "/v1/secret/data/" + s.Org.String() + "%20",
		"/v1/secret/data/00000000deadbeef", "/v1/secret/data/%00", "/v1/secret/metadata/", "/v1/secret/subkeys/", "/influxd/v1/secret/data/",
		"/v1/secret/data/" + strings.Repeat("x", 5000),
	} {
		s.op(t, "GET", path, "").wantErrors(t, 404)
	}
	// Clients' normalization of dot segments changes nothing.
	for _, path := range []string{"data/acme/", "metadata/acme/"} {
		s.op(t, "DELETE", "/v1/secret/"+path, "").want(t, 404)
	}
	// And a space is part of a name.
	for _, path := range []string{"acme%20", "%20acme", s.Org.String() + "%20"} {
		s.op(t, "DELETE", "/v1/secret/metadata/"+path, "").want(t, 204) // as for any missing one
	}
	s.op(t, "GET", "/v1/secret/data/acme", "").want(t, 200)
	for _, path := range []string{"/v1", "/v1/", "/v1/nope", "/v1/nope/data/acme", "/v1/secrets/data/acme",
		"/v1/auth/nope", "/influxd/v1/nope", "/v1/identity/entity", "/v1/../v1/secret/data/acme"} {
		a := s.op(t, "GET", path, "").want(t, 404)
		if text := fmt.Sprint(a.get(t, "errors")); !strings.Contains(text, "no handler for route") {
			t.Errorf("%s: %s", path, text)
		}
		s.do(t, "GET", path, "", "").wantErrors(t, 403, "permission denied")
	}
	s.op(t, "LIST", "/v1/nope/%2F", "").wantErrors(t, 404, `no handler for route "nope//". route entry not found.`)
	s.op(t, "LIST", "/v1/nope", "").wantErrors(t, 404, `no handler for route "nope/". route entry not found.`)
	s.op(t, "GET", "/v1/nope/x/", "").wantErrors(t, 404, `no handler for route "nope/x/". route entry not found.`)
	s.op(t, "GET", "/v1/sys/nope", "").wantErrors(t, 404, "1 error occurred:\n\t* unsupported path\n\n")
	// The engine's version 1 had its documents here. Vault has a hint for its
	// clients.
	for _, path := range []string{"/v1/secret", "/v1/secret/acme", "/v1/secret/nope/acme", "/influxd/v1/secret/acme", "/v1/secret/subkeys"} {
		for method, command := range map[string]string{"GET": "get", "PUT": "put", "POST": "put", "DELETE": "delete", "LIST": "list", "SCAN": "scan"} {
			if strings.HasSuffix(path, "subkeys") && (method == "LIST" || method == "SCAN") {
				continue
			}
			a := s.op(t, method, path, "").want(t, 404)
			if text := fmt.Sprint(a.get(t, "warnings")); !strings.Contains(text, "'bao kv "+command+"'") || a.get(t, "data") != nil {
				t.Errorf("%s %s: %s", method, path, a.text)
			}
		}
		s.do(t, "GET", path, "", "").wantErrors(t, 403, "permission denied")
	}
	for _, root := range []string{"data", "metadata", "delete", "undelete", "destroy"} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
			a := s.op(t, method, "/v1/secret/"+root, `{"data":{}}`).want(t, 404)
			if text := fmt.Sprint(a.get(t, "warnings")); text != "[Non-listing operations on the root of a K/V v2 mount are not supported.]" {
				t.Errorf("%s %s: %s", method, root, text)
			}
		}
	}
}

// TestDoubledSlash redirects everybody to the path without doubled slashes.
func TestDoubledSlash(t *testing.T) {
	s := newServer(t, nil)
	for path, want := range map[string]string{
		"/v1//secret/data/acme":         "/v1/secret/data/acme",
		"/v1/secret///data/acme//?x=//": "/v1/secret/data/acme/?x=//",
		"/v1/secret/data//a%2F%2Fb":     "/v1/secret/data/a%2F%2Fb",
		"/influxd/v1//secret/data/acme": "/influxd/v1/secret/data/acme",
		"//v1/secret/data/acme":         "/v1/secret/data/acme",
	} {
		for _, method := range []string{"GET", "PUT", "DELETE", "LIST"} {
			a := s.do(t, method, path, "", "").want(t, 307)
			if got := a.header.Get("Location"); got != want {
				t.Errorf("%s %s goes to %s, want %s", method, path, got, want)
			}
		}
	}
}

// TestEnvelope checks the fields and headers of every response with data.
func TestEnvelope(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	a := s.op(t, "GET", s.at("data"), "").want(t, 200)
	if got := strings.Join(slices.Sorted(maps.Keys(a.json)), " "); got != "auth data lease_duration lease_id renewable request_id warnings wrap_info" {
		t.Errorf("fields are %s", got)
	}
	if got := a.header.Get("Content-Length"); got != fmt.Sprint(len(a.text)) {
		t.Errorf("Content-Length is %s of %d", got, len(a.text))
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	if b := s.op(t, "GET", s.at("data"), ""); b.json["request_id"] == a.json["request_id"] {
		t.Error("two requests have the same ID")
	}
}

// TestNamespacesAndWrapping checks that unsupported headers are refused, not
// ignored.
func TestNamespacesAndWrapping(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	for ns, status := range map[string]int{"": 200, "root": 200, "/": 200, "root/": 200, "team": 400, "root/team": 400} {
		s.op(t, "GET", s.at("data"), "", "X-Vault-Namespace", ns).want(t, status)
	}
	for ttl, status := range map[string]int{"": 200, "0": 200, "60": 400, "5m": 400} {
		s.op(t, "GET", s.at("data"), "", "X-Vault-Wrap-TTL", ttl).want(t, status)
	}
	s.op(t, "GET", s.at("data"), "", "X-Vault-Request", "true", "X-Vault-AWS-IAM-Server-ID", "x").want(t, 200)
}
