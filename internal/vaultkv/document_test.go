package vaultkv_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

const casMismatch = "check-and-set parameter did not match the current version"

func TestCheckAndSet(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	for _, c := range []struct{ cas, refused string }{
		{`0`, casMismatch},
		{`"0"`, casMismatch},
		{`null`, casMismatch}, // Vault reads it as 0
		{`""`, casMismatch},
		{`-1`, casMismatch},
		{`"2"`, casMismatch},
		{`9223372036854775807`, casMismatch},
		{`false`, casMismatch}, // so is this
		{`"0x2"`, casMismatch},
		{`1.0`, "error parsing check-and-set parameter"},
		{`1e0`, "error parsing check-and-set parameter"},
		{`"x"`, "error parsing check-and-set parameter"},
		{`"1 "`, "error parsing check-and-set parameter"},
		{`[1]`, "error parsing check-and-set parameter"},
		{`{}`, "error parsing check-and-set parameter"},
		{`9223372036854775808`, "error parsing check-and-set parameter"},
	} {
		for _, method := range []string{"PUT", "POST", "PATCH"} {
			s.op(t, method, s.at("data"), `{"data":{"a":"2"},"options":{"cas":`+c.cas+`}}`, "Content-Type", mergePatch).
				wantErrors(t, 400, c.refused)
		}
	}
	for _, options := range []string{`{"cas":true}`, `{"cas":"0x2"}`, `{"cas":3,"method":"patch","other":"x"}`} {
		if a := s.op(t, "PUT", s.at("data"), `{"data":{"a":"2"},"options":`+options+`}`).want(t, 200); a.get(t, "warnings") != nil {
			t.Errorf("options %s: %s", options, a.text)
		}
	}
	// A write that changes nothing also creates a version, as in Vault.
	if a := s.op(t, "PUT", s.at("data"), `{"data":{"a":"2"},"options":{"cas":4}}`).want(t, 200); a.version(t) != 5 {
		t.Errorf("version %d, want 5", a.version(t))
	}
	// Check-and-set compares the version, even if it is hidden.
	s.op(t, "DELETE", s.at("data"), "").want(t, 204)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"3"},"options":{"cas":0}}`).wantErrors(t, 400, casMismatch)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"3"},"options":{"cas":5}}`).want(t, 200)
	s.op(t, "POST", s.at("metadata"), `{"cas_required":true}`).want(t, 204)
	for _, method := range []string{"PUT", "PATCH"} {
		s.op(t, method, s.at("data"), `{"data":{"a":"4"}}`, "Content-Type", mergePatch).
			wantErrors(t, 400, "check-and-set parameter required for this call")
	}
	wantValues(t, s, map[string]string{"a": "3"})
}

func TestPatch(t *testing.T) {
	s := newServer(t, nil)
	patch := func(body string) answer {
		t.Helper()
		return s.op(t, "PATCH", s.at("data"), body, "Content-Type", mergePatch+"; charset=utf-8")
	}
	if a := patch(`{"data":{"a":"1"}}`); a.status != 404 || a.text != "" {
		t.Errorf("a patch of nothing: %d %s", a.status, a.text)
	}
	// With settings but no version, check-and-set is checked first.
	s.op(t, "PUT", s.at("metadata"), `{"cas_required":true}`).want(t, 204)
	patch(`{"data":{"a":"1"}}`).wantErrors(t, 400, "check-and-set parameter required for this call")
	patch(`{"data":{"a":"1"},"options":{"cas":1}}`).wantErrors(t, 400, casMismatch)
	if a := patch(`{"data":{"a":"1"},"options":{"cas":0}}`); a.status != 404 || a.text != "" {
		t.Errorf("a patch of settings: %d %s", a.status, a.text)
	}
	s.op(t, "DELETE", s.at("metadata"), "").want(t, 204)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1","b":"1","c":"1"}}`).want(t, 200)
	for _, kind := range []string{"application/json", "text/plain", "application/json-patch+json"} {
		s.op(t, "PATCH", s.at("data"), `{"data":{"a":"2"}}`, "Content-Type", kind).
			wantErrors(t, 415, "PATCH requires Content-Type of application/merge-patch+json, provided "+kind)
		s.op(t, "PATCH", s.at("metadata"), `{"max_versions":1}`, "Content-Type", kind).
			wantErrors(t, 415, "PATCH requires Content-Type of application/merge-patch+json, provided "+kind)
	}
	s.op(t, "PATCH", s.at("data"), `{"data":{"a":"2"}}`, "Content-Type", "").wantErrors(t, 400, "mime: no media type")
	s.op(t, "PATCH", s.at("data"), `{"data":{"a":"2"}}`, "Content-Type", "bad/").wantErrors(t, 400, "mime: expected token after slash")
	if a := patch(`{"data":{"a":"2","b":null,"never":null,"d":""}}`).want(t, 200); a.version(t) != 2 {
		t.Errorf("version %d, want 2", a.version(t))
	}
	wantValues(t, s, map[string]string{"a": "2", "c": "1", "d": ""})
	if h := s.history(t)[0]; !slices.Equal(h.Added, []string{"d"}) || !slices.Equal(h.Changed, []string{"a"}) || !slices.Equal(h.Removed, []string{"b"}) {
		t.Errorf("the patch added %v, changed %v, removed %v", h.Added, h.Changed, h.Removed)
	}
	if a := patch(`{"data":{}}`).want(t, 200); a.version(t) != 3 {
		t.Errorf("version %d, want 3", a.version(t))
	}
	s.op(t, "DELETE", s.at("data"), "").want(t, 204)
	patch(`{"data":{"a":"3"},"options":{"cas":1}}`).wantErrors(t, 400, casMismatch)
	a := patch(`{"data":{"a":"3"}}`).want(t, 404) // with the metadata of the deleted version
	if a.version(t) != 3 || a.get(t, "data", "deletion_time") == "" {
		t.Errorf("a patch of a deleted document: %s", a.text)
	}
	s.op(t, "POST", s.at("undelete"), `{"versions":[3]}`).want(t, 204)
	patch(`{"data":{"a":"3"},"options":{"cas":3}}`).want(t, 200)
	wantValues(t, s, map[string]string{"a": "3", "c": "1", "d": ""})
}

// TestWrittenNameByName checks that replacing a document is recorded as the
// names it changed.
func TestWrittenNameByName(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1","b":"1","c":"1"}}`).want(t, 200)
	s.op(t, "PUT", s.at("data"), `{"data":{"b":"1","c":"2","d":"1"}}`).want(t, 200)
	h := s.history(t)[0]
	if !slices.Equal(h.Added, []string{"d"}) || !slices.Equal(h.Changed, []string{"c"}) || !slices.Equal(h.Removed, []string{"a"}) {
		t.Errorf("it added %v, changed %v, removed %v", h.Added, h.Changed, h.Removed)
	}
	if h.Protocol != keep.Vault || h.User != s.Admin || h.Token == 0 {
		t.Errorf("it is by user %v, token %v, over %s", h.User, h.Token, h.Protocol)
	}
}

func TestReadVersions(t *testing.T) {
	s := newServer(t, nil)
	for i := range 12 {
		s.op(t, "PUT", s.at("data"), fmt.Sprintf(`{"data":{"n":"%d"}}`, i+1)).want(t, 200)
	}
	for _, c := range []struct {
		query  string
		status int
		n      string
	}{
		{"", 200, "12"},
		{"?version=", 200, "12"},
		{"?version=0", 200, "12"},
		{"?version=12", 200, "12"},
		{"?version=3", 200, "3"},
		{"?version=2", 404, ""}, // pruned
		{"?version=13", 404, ""},
		{"?version=-1", 400, ""},
		{"?version=x", 400, ""},
		{"?version=0x3", 200, "3"},
		{"?version=3.0", 400, ""},
		{"?version=99999999999999999999", 400, ""},
		{"?version=3&version=4", 400, ""},
		{"?list=false&version=3", 200, "3"},
		{"?list=&version=3", 200, "3"},
		{"?list=true&scan=true", 400, ""},
		{"?scan=true", 405, ""},
		{"?scan=maybe", 400, ""},
		{"?list=maybe", 400, ""},
		{"?list=true", 405, ""},
	} {
		a := s.op(t, "GET", s.at("data")+c.query, "").want(t, c.status)
		if c.status == 200 {
			if got, _ := a.document(t); got["n"] != c.n {
				t.Errorf("%s: %v, want %s", c.query, got, c.n)
			}
		}
	}
	// Unknown parameters are reported in Vault's words.
	a := s.op(t, "GET", s.at("data")+"?versoin=3", "").want(t, 200)
	if w := fmt.Sprint(a.get(t, "warnings")); w != "[Endpoint ignored these unrecognized parameters: [versoin]]" {
		t.Errorf("warnings %s", w)
	}
	b := s.op(t, "PUT", s.at("data"), `{"data":{"n":"13"},"option":{"cas":1}}`).want(t, 200)
	if w := fmt.Sprint(b.get(t, "warnings")); w != "[Endpoint ignored these unrecognized parameters: [option]]" {
		t.Errorf("warnings %s", w)
	}
	b = s.op(t, "PUT", s.at("data"), `{"data":{"n":"14"},"path":"elsewhere"}`).want(t, 200)
	if w := fmt.Sprint(b.get(t, "warnings")); w != "[Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [path]]" {
		t.Errorf("warnings %s", w)
	}
}

func TestSubkeys(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "GET", s.at("subkeys"), "").wantErrors(t, 404)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"hunter2","b":"hunter2"}}`).want(t, 200)
	s.op(t, "PUT", s.at("data"), `{"data":{}}`).want(t, 200)
	for query, want := range map[string]string{"?version=1&depth=1": "map[a:<nil> b:<nil>]", "": "map[]"} {
		a := s.op(t, "GET", s.at("subkeys")+query, "").want(t, 200)
		if got := fmt.Sprint(a.get(t, "data", "subkeys")); got != want || strings.Contains(a.text, "hunter2") {
			t.Errorf("%s: %s", query, a.text)
		}
	}
	s.op(t, "GET", s.at("subkeys")+"?depth=x", "").want(t, 400)
	s.op(t, "GET", s.at("subkeys")+"?depth=-1", "").want(t, 200)
	s.op(t, "DELETE", s.at("data"), "").want(t, 204)
	if a := s.op(t, "GET", s.at("subkeys"), "").want(t, 404); a.get(t, "data", "subkeys") != nil || a.version(t) != 2 {
		t.Errorf("of a deleted one: %s", a.text)
	}
}
