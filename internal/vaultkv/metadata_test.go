package vaultkv_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func TestVersionLists(t *testing.T) {
	s := newServer(t, nil)
	for i := range 3 {
		s.op(t, "PUT", s.at("data"), fmt.Sprintf(`{"data":{"n":"%d"}}`, i+1)).want(t, 200)
	}
	for _, c := range []struct {
		versions string
		status   int
		hidden   []int
	}{
		{`[1,2]`, 204, []int{1, 2}},
		{`["1","2"]`, 204, []int{1, 2}},
		{`"1,3"`, 204, []int{1, 3}},
		{`2`, 204, []int{2}},
		{`[99]`, 204, nil},
		{`[0]`, 204, nil},
		{`[]`, 400, nil},
		{`null`, 400, nil},
		{`""`, 400, nil},
		{`[1.5]`, 400, nil},
		{`[-1]`, 400, nil},
		{`["x"]`, 400, nil},
		{`[null]`, 400, nil},
		{`[[1]]`, 400, nil},
		{`true`, 400, nil},
		{`{"1":true}`, 400, nil},
	} {
		for _, method := range []string{"POST", "PUT"} {
			s.op(t, method, s.at("delete"), `{"versions":`+c.versions+`}`).want(t, c.status)
			for n := 1; n <= 3; n++ {
				status := 200
				if slices.Contains(c.hidden, n) {
					status = 404
				}
				s.op(t, "GET", fmt.Sprintf("%s?version=%d", s.at("data"), n), "").want(t, status)
			}
			s.op(t, method, s.at("undelete"), `{"versions":[1,2,3]}`).want(t, 204)
		}
	}
	for _, kind := range []string{"delete", "undelete", "destroy"} {
		s.op(t, "POST", s.at(kind), `{}`).wantErrors(t, 400, "no version number provided")
		s.op(t, "POST", s.at(kind), ``).wantErrors(t, 400, "no version number provided")
		// Nothing was written there: nothing to do, as in Vault.
		other := "/v1/secret/" + kind + "/other"
		if kind == "delete" {
			s.otherToken(t)
		}
		s.op(t, "POST", other, `{"versions":[1]}`).want(t, 204)
	}
	s.op(t, "PUT", s.at("destroy"), `{"versions":[3]}`).want(t, 204)
	a := s.op(t, "GET", s.at("data"), "").want(t, 404)
	if a.get(t, "data", "metadata", "destroyed") != true || a.get(t, "data", "data") != nil {
		t.Errorf("the destroyed one: %s", a.text)
	}
	s.op(t, "DELETE", "/v1/secret/data/other", "").want(t, 204)
	s.op(t, "DELETE", "/v1/secret/metadata/other", "").want(t, 204)
}

// TestMetadataAloneIsListed: a document that has settings and no version yet
// is there, for who lists as for who asks for it.
func TestMetadataAloneIsListed(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "LIST", "/v1/secret/metadata", "").wantErrors(t, 404)
	s.op(t, "POST", s.at("metadata"), `{"max_versions":3}`).want(t, 204)
	a := s.op(t, "LIST", "/v1/secret/metadata", "").want(t, 200)
	if got := fmt.Sprint(a.get(t, "data", "keys")); got != fmt.Sprintf("[%s]", s.Org) {
		t.Errorf("listed are %s", got)
	}
	s.op(t, "DELETE", s.at("metadata"), "").want(t, 204)
	s.op(t, "LIST", "/v1/secret/metadata", "").wantErrors(t, 404)
}

func TestMetadata(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "GET", s.at("metadata"), "").wantErrors(t, 404)
	s.op(t, "POST", s.at("metadata"), `{}`).want(t, 204)
	s.op(t, "GET", s.at("metadata"), "").wantErrors(t, 404)
	s.op(t, "PATCH", s.at("metadata"), `{"max_versions":3}`, "Content-Type", mergePatch).wantErrors(t, 404)

	check := func(want string) {
		t.Helper()
		a := s.op(t, "GET", s.at("metadata"), "").want(t, 200)
		got := fmt.Sprintf("%v %v %v %v", a.get(t, "data", "max_versions"), a.get(t, "data", "cas_required"),
			a.get(t, "data", "delete_version_after"), a.get(t, "data", "custom_metadata"))
		if got != want {
			t.Errorf("settings are %s, want %s", got, want)
		}
	}
	for _, c := range []struct{ method, body, want string }{
		{"POST", `{"max_versions":"3","cas_required":"true","delete_version_after":"3h","custom_metadata":{"a":"b"}}`, "3 true 3h0m0s map[a:b]"},
		{"PUT", `{"delete_version_after":60}`, "3 true 1m0s map[a:b]"},
		{"PUT", `{"delete_version_after":"90"}`, "3 true 1m30s map[a:b]"},
		{"PUT", `{"delete_version_after":"2d"}`, "3 true 48h0m0s map[a:b]"},
		{"PUT", `{"delete_version_after":"0s","cas_required":false}`, "3 false 0s map[a:b]"},
		{"PUT", `{"custom_metadata":null,"max_versions":0}`, "0 false 0s <nil>"},
		{"PATCH", `{"custom_metadata":{"x":"1","y":"2"}}`, "0 false 0s map[x:1 y:2]"},
		{"PATCH", `{"custom_metadata":{"x":null,"z":"3"},"max_versions":5,"cas_required":true}`, "5 true 0s map[y:2 z:3]"},
		{"PATCH", `{"max_versions":null,"cas_required":null}`, "0 false 0s map[y:2 z:3]"},
		{"PUT", `{"custom_metadata":{"only":"this"}}`, "0 false 0s map[only:this]"},
		{"PATCH", `{"custom_metadata":null}`, "0 false 0s <nil>"},
		{"PATCH", `{"metadata_cas_required":false}`, "0 false 0s <nil>"},
	} {
		s.op(t, c.method, s.at("metadata"), c.body, "Content-Type", mergePatch).want(t, 204)
		check(c.want)
	}
	for _, body := range []string{
		`{"max_versions":-1}`, `{"max_versions":1.5}`, `{"max_versions":"x"}`, `{"max_versions":100000}`, `{"max_versions":[]}`,
		`{"cas_required":"x"}`, `{"cas_required":1}`, `{"cas_required":{}}`,
		`{"delete_version_after":"x"}`, `{"delete_version_after":"-1s"}`, `{"delete_version_after":-1}`, `{"delete_version_after":{}}`,
		`{"delete_version_after":"9999999d"}`, `{"delete_version_after":99999999999}`, `{"delete_version_after":"9999999h"}`,
		`{"custom_metadata":"x"}`, `{"custom_metadata":{"a":1}}`, `{"custom_metadata":{"a":{}}}`, `{"custom_metadata":{"":"x"}}`,
		`{"custom_metadata":{"a":""}}`, `{"custom_metadata":{"a\n":"x"}}`, `{"custom_metadata":{"a":"x\u0007"}}`,
		`{"custom_metadata":{"a":"` + strings.Repeat("v", 513) + `"}}`,
		`{"metadata_cas":1}`, `{"metadata_cas_required":true}`, `{bad`, `[]`,
	} {
		for _, method := range []string{"POST", "PATCH"} {
			a := s.op(t, method, s.at("metadata"), body, "Content-Type", mergePatch)
			if a.status != 400 {
				t.Errorf("%s %s: %d %s", method, body, a.status, a.text)
			}
		}
	}
	s.op(t, "POST", s.at("metadata"), `{"custom_metadata":{"a":null}}`).want(t, 400)
	check("0 false 0s <nil>")
	// A wrong name is told, since the setting was not made.
	a := s.op(t, "POST", s.at("metadata"), `{"max_version":3}`).want(t, 200)
	if w := fmt.Sprint(a.get(t, "warnings")); !strings.Contains(w, "max_version") {
		t.Errorf("warnings %s", w)
	}

	// Custom metadata is shown wherever Vault shows it.
	s.op(t, "POST", s.at("metadata"), `{"custom_metadata":{"owner":"ops \"1\""}}`).want(t, 204)
	for _, a := range []answer{
		s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`),
		s.op(t, "PATCH", s.at("data"), `{"data":{"a":"2"}}`, "Content-Type", mergePatch),
	} {
		if got := a.get(t, "data", "custom_metadata", "owner"); got != `ops "1"` {
			t.Errorf("a write shows %v", got)
		}
	}
	if got := s.op(t, "GET", s.at("data"), "").get(t, "data", "metadata", "custom_metadata", "owner"); got != `ops "1"` {
		t.Errorf("a read shows %v", got)
	}
}

func TestDeleteVersionAfter(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "POST", s.at("metadata"), `{"delete_version_after":"1h"}`).want(t, 204)
	a := s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	if at := a.get(t, "data", "deletion_time"); !isTime(at) {
		t.Errorf("deletion_time is %v", at)
	}
	s.op(t, "GET", s.at("data"), "").want(t, 200)
	s.Clock.Advance(3_601_000_000_000)
	s.op(t, "GET", s.at("data"), "").want(t, 404)
	wantValues(t, s, map[string]string{})
}

func TestList(t *testing.T) {
	s := newServer(t, nil)
	list := func(token, query string) answer {
		t.Helper()
		a := s.do(t, "LIST", "/v1/secret/metadata/"+query, token, "")
		and := "?"
		if query != "" {
			and = "&"
		}
		b := s.do(t, "GET", "/v1/secret/metadata"+query+and+"list=true", token, "")
		if a.status != b.status || fmt.Sprint(a.json["data"]) != fmt.Sprint(b.json["data"]) {
			t.Errorf("LIST answers %d %s, and GET %d %s", a.status, a.text, b.status, b.text)
		}
		return a
	}
	other := s.otherToken(t)
	list(s.OperatorToken, "").wantErrors(t, 404)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	s.op(t, "PUT", "/v1/secret/data/other", `{"data":{"a":"1"}}`).want(t, 200)
	both := []string{s.Org.String(), other.Org.String()}
	slices.Sort(both)
	for _, c := range []struct {
		token, query string
		want         []string
	}{
		{s.OperatorToken, "", both},
		{s.OperatorToken, "?limit=1", both[:1]},
		{s.OperatorToken, "?after=" + both[0], both[1:]},
		{s.writerToken(t).Value, "", []string{s.Org.String()}},
		{s.readerToken(t).Value, "", []string{s.Org.String()}},
		{other.Value, "", []string{other.Org.String()}},
	} {
		got := fmt.Sprint(list(c.token, c.query).want(t, 200).get(t, "data", "keys"))
		if got != fmt.Sprint(c.want) {
			t.Errorf("%s: %s, want %v", c.query, got, c.want)
		}
	}
	list(s.MustToken(t, keep.NewToken{}).Value, "").wantErrors(t, 404)
	s.op(t, "LIST", "/v1/secret/metadata?limit=x", "").want(t, 400)
	s.op(t, "LIST", s.at("metadata"), "").wantErrors(t, 404)
	s.op(t, "LIST", s.at("metadata")+"/", "").wantErrors(t, 404)
	s.op(t, "LIST", "/v1/secret/metadata/nope", "").wantErrors(t, 404)
	s.op(t, "GET", s.at("metadata")+"?list=true", "").wantErrors(t, 404)
}
