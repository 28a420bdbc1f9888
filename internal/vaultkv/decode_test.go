package vaultkv_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func TestRefusedBodies(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"kept":"v"}}`).want(t, 200)
	for _, c := range []struct{ body, message string }{
		{``, "no data provided"},
		{`null`, "no data provided"},
		{`{}`, "no data provided"},
		{`{"DATA":{"a":"1"}}`, "no data provided"},
		{`{"data":null}`, "no data provided: null would remove every secret"},
		{`{"data":[]}`, `error converting input for field "data": an object is wanted`},
		{`{"data":"x"}`, `error converting input for field "data": an object is wanted`},
		{`{"data":{"a":1}}`, `the value of secret "a" must be a string`},
		{`{"data":{"a":true}}`, `the value of secret "a" must be a string`},
		{`{"data":{"a":{"b":"c"}}}`, `the value of secret "a" must be a string`},
		{`{"data":{"b":["hunter2"],"c":2,"a":"1"}}`, `the value of secret "b" must be a string`},
		{`{"data":{"":"1"}}`, "secret name must not be empty"},
		{`{"data":{"a":"1"},"options":"x"}`, `error converting input for field "options": an object is wanted`},
		{`{"data":{"a":"1"},"options":[1]}`, `error converting input for field "options": an object is wanted`},
		{`{"data":{"a":"1"},"version":"x"}`, `error converting input for field "version": a whole number is wanted`},
		{`{"data":`, "error parsing JSON: it ends too early"},
		{`{"data":{"a":"1"}`, "error parsing JSON: it ends too early"},
		{`{"data":{"a":"hunter2"}]`, "error parsing JSON: invalid after 24 bytes"},
		{`[]`, "error parsing JSON: an object is wanted"},
		{`"x"`, "error parsing JSON: an object is wanted"},
		{`data=1`, "error parsing JSON: invalid after 1 bytes"},
		{`{"data":{"a":"1"}} x`, "error parsing JSON: invalid text after the JSON document"},
		{`{"data":{"a":"1"}}{"data":{}}`, "error parsing JSON: invalid text after the JSON document"},
		{`{"data":{"a":"1","a":"2"}}`, "error parsing JSON: duplicate name in an object"},
		{`{"data":{"a":"1"},"data":{"b":"1"}}`, "error parsing JSON: duplicate name in an object"},
		{"{\"data\":{\"a\":\"\xff\"}}", "error parsing JSON: invalid UTF-8"},
		{`{"data":{"a":"\ud800"}}`, `error parsing JSON: invalid \u escape: half of a surrogate pair`},
	} {
		for _, method := range []string{"PUT", "PATCH"} {
			s.op(t, method, s.at("data"), c.body, "Content-Type", mergePatch).wantErrors(t, 400, c.message)
		}
	}
	// In a patch null removes a name; elsewhere it is an error.
	s.op(t, "PUT", s.at("data"), `{"data":{"kept":null}}`).wantErrors(t, 400, `the value of secret "kept" must be a string`)

	long := `{"data":{"` + strings.Repeat("n", keep.MaxName+1) + `":"1"}}`
	s.op(t, "PUT", s.at("data"), long).wantErrors(t, 400, fmt.Sprintf("secret name is longer than %d bytes", keep.MaxName))
	big := `{"data":{"a":"` + strings.Repeat("v", keep.MaxValue+1) + `"}}`
	s.op(t, "PUT", s.at("data"), big).wantErrors(t, 413, fmt.Sprintf("a secret's value is longer than %d bytes", keep.MaxValue))
	huge := strings.Repeat(" ", 8<<20) + `{}`
	s.op(t, "PUT", s.at("data"), huge).wantErrors(t, 413, "the request body is larger than 8388608 bytes")
	for _, path := range []string{"sys/capabilities-self", "auth/token/renew-self", "auth/approle/login"} {
		s.op(t, "POST", "/v1/"+path, big).wantErrors(t, 413, "the request body is larger than 65536 bytes")
	}
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`, "Content-Encoding", "br").wantErrors(t, 415, "unsupported Content-Encoding")
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`, "Content-Encoding", "gzip").wantErrors(t, 400, "body is not valid gzip")

	wantValues(t, s, map[string]string{"kept": "v"})
	if n := len(s.history(t)); n != 1 {
		t.Errorf("%d versions, want 1", n)
	}
}

// TestFirstErrorIsAlwaysTheSame checks that of several errors the same one is
// always reported.
func TestFirstErrorIsAlwaysTheSame(t *testing.T) {
	s := newServer(t, nil)
	const settings = `{"max_versions":"x","cas_required":"x","delete_version_after":"x"}`
	for range 20 {
		s.op(t, "PUT", s.at("metadata"), settings).wantErrors(t, 400, `error converting input for field "cas_required": true or false is wanted`)
		s.op(t, "PUT", s.at("metadata"), `{"custom_metadata":{"b":[],"c":[],"a":[]}}`).
			wantErrors(t, 400, `error converting input for field "custom_metadata": the value of "a" must be a string`)
		s.op(t, "PUT", "/v1/auth/approle/login", `{"secret_id":1,"role_id":1}`).
			wantErrors(t, 400, `error converting input for field "role_id": a string is wanted`)
	}
}

// TestBodyIsJSONWhateverItIsCalled sends no Content-Type, like influxd, and
// others, like curl.
func TestBodyIsJSONWhateverItIsCalled(t *testing.T) {
	s := newServer(t, nil)
	for _, kind := range []string{"", "application/json", "text/plain", "application/x-www-form-urlencoded"} {
		s.op(t, "PUT", s.at("data"), `{"data":{"kind":"`+kind+`"}}`, "Content-Type", kind).want(t, 200)
		wantValues(t, s, map[string]string{"kind": kind})
	}
}
