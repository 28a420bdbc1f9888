package influxv2_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// TestStraySlashes checks that a path with a trailing slash or an empty
// segment, which clients build by mistake, changes nothing, unless it is a
// secret's.
func TestStraySlashes(t *testing.T) {
	a := newAPI(t, nil)
	before := a.Contents(t)
	fill := strings.NewReplacer("{orgID}", a.Org.String(), "{userID}", a.Admin.String(), "{authID}", a.Org.String())
	tried := 0
	for _, r := range a.handler.Routes() {
		if r.Method == http.MethodGet || r.Method == http.MethodOptions || strings.Contains(r.Pattern, "/secrets") {
			continue
		}
		path := fill.Replace(r.Pattern)
		last := strings.LastIndex(path, "/")
		for _, path := range []string{path + "/", path + "//", path[:last] + "/" + path[last:]} {
			tried++
			want(t, a.do(t, r.Method, path, ""), http.StatusNotFound, keep.CodeNotFound)
		}
	}
	if tried < 30 {
		t.Errorf("only %d paths tried", tried)
	}
	if after := a.Contents(t); len(after) != len(before) {
		t.Errorf("%d records of %d are left", len(after), len(before))
	}
}

// TestDeleteMeansTheName checks that 204 means there is no such secret, and
// is never sent for an invalid name.
func TestDeleteMeansTheName(t *testing.T) {
	a := newAPI(t, nil)
	for name, status := range map[string]int{
		"a": 204, "a%2Fb": 204, "..": 204, strings.Repeat("x", keep.MaxName): 204,
		"%FC": 400, "%00": 400, "%2F%00": 400, "/": 400, strings.Repeat("x", keep.MaxName+1): 400, "a/b": 404,
	} {
		if w := a.do(t, "DELETE", a.secrets("/"+name), ""); w.Code != status {
			t.Errorf("%.40s: status %d, want %d: %s", name, w.Code, status, w.Body)
		}
	}
}

func TestOrganizationsAfter(t *testing.T) {
	a := newAPI(t, nil)
	id := a.Org.String()
	for after, found := range map[string]bool{"": true, "0000000000000001": true, id: false, "ffffffffffffffff": false} {
		w := a.do(t, "GET", "/api/v2/orgs?after="+after, "")
		want(t, w, http.StatusOK, "")
		if strings.Contains(w.Body.String(), id) != found {
			t.Errorf("after %q: %s", after, w.Body)
		}
	}
}
