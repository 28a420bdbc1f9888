package vaultkv_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
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
		{`[-1]`, 204, nil},
		{`[null]`, 204, nil},
		{`[true]`, 204, []int{1}},
		{`true`, 204, []int{1}},
		{`false`, 204, nil},
		{`"0x2"`, 204, []int{2}},
		{`[]`, 400, nil},
		{`{}`, 400, nil},
		{`null`, 400, nil},
		{`""`, 400, nil},
		{`" "`, 400, nil},
		{`"1, 3"`, 400, nil},
		{`["1,3"]`, 400, nil},
		{`[1.5]`, 400, nil},
		{`["x"]`, 400, nil},
		{`[[1]]`, 400, nil},
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
		none := "No version number provided" // Vault uses both spellings
		if kind == "destroy" {
			none = "no version number provided"
		}
		s.op(t, "POST", s.at(kind), `{}`).wantErrors(t, 400, none)
		s.op(t, "POST", s.at(kind), ``).wantErrors(t, 400, none)
		// Nothing was written there, so there is nothing to do, as in Vault.
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
	// The same applies without an organization.
	s.op(t, "DELETE", "/v1/secret/data/nobody", "").want(t, 204)
	s.op(t, "DELETE", "/v1/secret/metadata/nobody", "").want(t, 204)
	s.op(t, "POST", "/v1/secret/destroy/00000000deadbeef", `{"versions":[1]}`).want(t, 204)
}

// TestMetadataAloneIsListed checks that a document with settings but no
// version can be listed and read.
func TestMetadataAloneIsListed(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "LIST", "/v1/secret/metadata", "").wantErrors(t, 404)
	s.op(t, "POST", s.at("metadata"), `{"max_versions":3}`).want(t, 204)
	a := s.op(t, "LIST", "/v1/secret/metadata", "").want(t, 200)
	if got := fmt.Sprint(a.get(t, "data", "keys")); got != fmt.Sprintf("[%s]", s.Org) {
		t.Errorf("the list is %s", got)
	}
	s.op(t, "DELETE", s.at("metadata"), "").want(t, 204)
	s.op(t, "LIST", "/v1/secret/metadata", "").wantErrors(t, 404)
}

func TestMetadata(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "GET", s.at("metadata"), "").wantErrors(t, 404)
	s.op(t, "POST", s.at("metadata"), `{}`).want(t, 204)
	s.op(t, "GET", s.at("metadata"), "").wantErrors(t, 404)
	if a := s.op(t, "PATCH", s.at("metadata"), `{"max_versions":3}`, "Content-Type", mergePatch); a.status != 404 || a.text != "" {
		t.Errorf("a patch of nothing: %d %s", a.status, a.text)
	}
	s.op(t, "PATCH", s.at("metadata"), `{}`, "Content-Type", mergePatch).want(t, 204)
	s.op(t, "PATCH", s.at("metadata"), `{"custom_metadata":{"":"x"}}`, "Content-Type", mergePatch).want(t, 400)

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
		{"PUT", `{"cas_required":1,"delete_version_after":"90500ms"}`, "0 true 1m30s <nil>"},
		{"PUT", `{"cas_required":"F","delete_version_after":null}`, "0 false 1m30s <nil>"},
		{"PUT", `{"custom_metadata":{"n":1.50,"yes":true,"no":false},"delete_version_after":""}`, "0 false 0s map[n:1.50 no:0 yes:1]"},
		{"PATCH", `{"custom_metadata":[]}`, "0 false 0s map[n:1.50 no:0 yes:1]"},
		{"PUT", `{"custom_metadata":[]}`, "0 false 0s <nil>"},
	} {
		s.op(t, c.method, s.at("metadata"), c.body, "Content-Type", mergePatch).want(t, 204)
		check(c.want)
	}
	for _, body := range []string{
		`{"max_versions":-1}`, `{"max_versions":1.5}`, `{"max_versions":"x"}`, `{"max_versions":100000}`, `{"max_versions":[]}`,
		`{"cas_required":"x"}`, `{"cas_required":2}`, `{"cas_required":{}}`,
		`{"delete_version_after":"x"}`, `{"delete_version_after":"-1s"}`, `{"delete_version_after":-1}`, `{"delete_version_after":{}}`,
		`{"delete_version_after":"9999999d"}`, `{"delete_version_after":99999999999}`, `{"delete_version_after":"9999999h"}`,
		`{"custom_metadata":"x"}`, `{"custom_metadata":[1]}`, `{"custom_metadata":{"a":[]}}`, `{"custom_metadata":{"a":{}}}`, `{"custom_metadata":{"":"x"}}`,
		`{"custom_metadata":{"a":""}}`, `{"custom_metadata":{"a\n":"x"}}`, `{"custom_metadata":{"a":"x\u0007"}}`,
		`{"custom_metadata":{"a":"` + strings.Repeat("v", 513) + `"}}`,
		`{"metadata_cas":"x"}`, `{"metadata_cas_required":"x"}`, `{bad`, `[]`,
	} {
		for _, method := range []string{"POST", "PATCH"} {
			a := s.op(t, method, s.at("metadata"), body, "Content-Type", mergePatch)
			if a.status != 400 {
				t.Errorf("%s %s: %d %s", method, body, a.status, a.text)
			}
		}
	}
	s.op(t, "POST", s.at("metadata"), `{"custom_metadata":{"a":null}}`).want(t, 400)
	s.op(t, "PATCH", s.at("metadata"), `{"custom_metadata":{"a":1}}`, "Content-Type", mergePatch).want(t, 400)
	check("0 false 0s <nil>")
	// Vault doesn't report unknown fields in a response without a body.
	s.op(t, "POST", s.at("metadata"), `{"max_version":3}`).want(t, 204)
	check("0 false 0s <nil>")

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

// TestMetadataCheckAndSet checks the settings' own version number.
func TestMetadataCheckAndSet(t *testing.T) {
	s := newServer(t, nil)
	const (
		mismatch = "metadata check-and-set parameter does not match the current version"
		required = "metadata check-and-set parameter required for this call"
	)
	write := func(method, body string) answer {
		t.Helper()
		return s.op(t, method, s.at("metadata"), body, "Content-Type", mergePatch)
	}
	write("PUT", `{"max_versions":1,"metadata_cas":1}`).wantErrors(t, 400, "metadata_cas must be 0 when creating new metadata")
	write("PUT", `{"metadata_cas":7}`).want(t, 204) // changes nothing
	write("PUT", `{"max_versions":1,"metadata_cas":0}`).want(t, 204)
	for _, method := range []string{"PUT", "PATCH"} {
		for _, cas := range []string{`0`, `2`, `-1`, `null`, `"3"`} {
			write(method, `{"max_versions":2,"metadata_cas":`+cas+`}`).wantErrors(t, 400, mismatch)
		}
	}
	write("PATCH", `{"metadata_cas_required":true,"metadata_cas":1}`).want(t, 204)
	write("PUT", `{"max_versions":3}`).wantErrors(t, 400, required)
	write("PATCH", `{"max_versions":3}`).wantErrors(t, 400, required)
	write("PUT", `{"max_versions":3,"metadata_cas":"2"}`).want(t, 204)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200) // has its own version
	a := s.op(t, "GET", s.at("metadata"), "").want(t, 200)
	got := fmt.Sprintf("%v %v %v", a.get(t, "data", "max_versions"), a.get(t, "data", "metadata_cas_required"), a.get(t, "data", "current_metadata_version"))
	if got != "3 true 3" {
		t.Errorf("the settings are %s", got)
	}
	write("PUT", `{"metadata_cas_required":false,"metadata_cas":3}`).want(t, 204)
	write("PUT", `{"max_versions":4}`).want(t, 204)
}

// TestMetadataTimes checks that settings alone have an update time, and that
// the oldest version is reported once max_versions exist.
func TestMetadataTimes(t *testing.T) {
	s := newServer(t, nil)
	metadata := func(field string) any {
		t.Helper()
		return s.op(t, "GET", s.at("metadata"), "").want(t, 200).get(t, "data", field)
	}
	s.op(t, "PUT", s.at("metadata"), `{"max_versions":3}`).want(t, 204)
	created := metadata("updated_time")
	if !isTime(created) || created != metadata("created_time") {
		t.Errorf("updated %v, created %v", created, metadata("created_time"))
	}
	s.Clock.Advance(time.Minute)
	s.op(t, "PATCH", s.at("metadata"), `{"cas_required":false}`, "Content-Type", mergePatch).want(t, 204)
	if metadata("updated_time") == created || metadata("created_time") != created {
		t.Errorf("updated %v, created %v", metadata("updated_time"), metadata("created_time"))
	}
	for n, oldest := range []string{"0", "0", "1", "2"} {
		s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
		if got := fmt.Sprint(metadata("oldest_version")); got != oldest {
			t.Errorf("after %d versions the oldest is %s, want %s", n+1, got, oldest)
		}
	}
}

// TestWarnings checks the warnings about unknown query parameters.
func TestWarnings(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	for target, want := range map[string]string{
		s.at("metadata") + "?version=1":                "[version]",
		s.at("metadata") + "?list=false&b=1&a=1":       "[a b list]",
		s.at("metadata") + "?list=true&x=1":            "[x]",
		"/v1/secret/metadata?list=1&x=1&limit=1":       "[x]",
		"/v1/secret/metadata/?scan=1&list=&after=z":    "[list]",
		"/v1/secret/config?version=1":                  "[version]",
		s.at("data") + "?list=0&version=1":             "[list]",
		s.at("metadata") + "?scan=true&list=false&a=a": "[a list]",
	} {
		a := s.op(t, "GET", target, "").want(t, 200)
		if w := fmt.Sprint(a.get(t, "warnings")); w != "[Endpoint ignored these unrecognized parameters: "+want+"]" {
			t.Errorf("%s: warnings %s", target, w)
		}
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
	// An undeleted version gets its full lifetime again.
	s.op(t, "POST", s.at("undelete"), `{"versions":[1]}`).want(t, 204)
	for range 2 {
		s.Clock.Advance(29 * time.Minute)
		if at := s.op(t, "GET", s.at("data"), "").want(t, 200).get(t, "data", "metadata", "deletion_time"); !isTime(at) {
			t.Errorf("deletion_time is %v", at)
		}
	}
	s.Clock.Advance(3 * time.Minute)
	s.op(t, "GET", s.at("data"), "").want(t, 404)
	// A destroyed version can't be restored.
	s.op(t, "POST", s.at("destroy"), `{"versions":[1]}`).want(t, 204)
	s.op(t, "POST", s.at("undelete"), `{"versions":[1,2]}`).want(t, 204)
	s.op(t, "GET", s.at("data"), "").want(t, 404)
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
	scan := func(path string) string {
		t.Helper()
		a := s.op(t, "SCAN", path, "").want(t, 200)
		return fmt.Sprint(a.json["data"])
	}
	if got := scan("/v1/secret/metadata"); got != "map[]" {
		t.Errorf("a scan of nothing finds %s", got)
	}
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	if got := scan("/v1/secret/metadata/?limit=1&after=z"); got != fmt.Sprintf("map[keys:[%s]]", s.Org) {
		t.Errorf("a scan finds %s", got)
	}
	if got := scan(s.at("metadata")); got != "map[]" {
		t.Errorf("a scan of a document finds %s", got)
	}
	s.op(t, "PUT", "/v1/secret/data/"+other.Org.String(), `{"data":{"a":"1"}}`).want(t, 200)
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

// TestListNames lists organizations by name where clients can use it, and by ID
// where the document was created under its ID, as in Vault.
func TestListNames(t *testing.T) {
	s := newServer(t, nil)
	op := s.Operator(t, keep.InfluxDB)
	names := map[string]string{} // by ID
	for _, name := range []string{"plain", "with space", "Öl", "a/b", "50%", "q?", "h#", `b\\s`, "tab\t", "by ID", "by its influxd"} {
		org, err := s.CreateOrganization(t.Context(), op, name, "")
		if err != nil {
			t.Fatal(err)
		}
		names[org.ID.String()] = name
		switch name {
		case "by ID":
			s.op(t, "PUT", "/v1/secret/data/"+org.ID.String(), `{"data":{"a":"1"}}`).want(t, 200)
		case "by its influxd":
			s.op(t, "PUT", "/influxd/v1/secret/data/"+org.ID.String(), `{"data":{"a":"1"}}`).want(t, 200)
		default:
			if _, err := s.Change(t.Context(), op, org.ID, keep.Change{Set: map[string]string{"a": "1"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var want []string
	for id, name := range names {
		switch name {
		case "plain", "with space", "Öl", "by its influxd":
			want = append(want, name)
		default:
			want = append(want, id)
		}
	}
	slices.Sort(want)
	listed := s.op(t, "LIST", "/v1/secret/metadata", "").want(t, 200).get(t, "data", "keys").([]any)
	if got := fmt.Sprint(listed); got != fmt.Sprint(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, key := range listed {
		s.op(t, "GET", "/v1/secret/data/"+url.PathEscape(key.(string)), "").want(t, 200)
	}
	// A token that may not read the organization itself doesn't learn its name.
	for id, name := range names {
		if name == "plain" {
			org, err := acl.ParseID(id)
			if err != nil {
				t.Fatal(err)
			}
			secrets := s.MustToken(t, keep.NewToken{Org: org, Permissions: acl.Set{{Action: acl.Read, Resource: acl.Resource{Type: acl.Secrets, OrgID: org}}}})
			if got := fmt.Sprint(s.do(t, "LIST", "/v1/secret/metadata", secrets.Value, "").want(t, 200).get(t, "data", "keys")); got != "["+id+"]" {
				t.Errorf("a token for its secrets alone lists %s", got)
			}
		}
	}
}
