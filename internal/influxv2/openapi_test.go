package influxv2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// description loads the OpenAPI description as a client does.
func (a *api) description(tb testing.TB) *openapi3.T {
	tb.Helper()
	w := a.do(tb, "GET", "/api/v2/swagger.json", "", "Authorization", "")
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	if err := doc.Validate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return doc
}

// TestDescriptionIsComplete compares the description with the routing table,
// both ways.
func TestDescriptionIsComplete(t *testing.T) {
	a := newAPI(t, &keeptest.Options{Fresh: true})
	doc := a.description(t)
	described := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[method+" "+path] = op
		}
	}
	ids := map[string]bool{}
	for _, r := range a.handler.Routes() {
		key := r.Method + " " + r.Pattern
		op := described[key]
		if op == nil {
			t.Errorf("%s is served but not described", key)
			continue
		}
		delete(described, key)
		if open := op.Security != nil && !slices.ContainsFunc(*op.Security, needsCaller); open != r.Open {
			t.Errorf("%s: open is %v in the table and %v in the description", key, r.Open, open)
		}
		if ids[op.OperationID] || op.OperationID == "" || op.Summary == "" {
			t.Errorf("%s: operationId %q is used twice or empty, or there is no summary", key, op.OperationID)
		}
		ids[op.OperationID] = true
		params := map[string]bool{}
		for _, p := range op.Parameters {
			params[p.Value.In+" "+p.Value.Name] = true
		}
		for segment := range strings.SplitSeq(r.Pattern, "/") {
			if name, ok := strings.CutPrefix(segment, "{"); ok && !params["path "+strings.TrimSuffix(name, "}")] {
				t.Errorf("%s: parameter %s is not described", key, segment)
			}
		}
	}
	for key := range maps.Keys(described) {
		t.Errorf("%s is described but not served", key)
	}
}

// needsCaller reports whether a security requirement is one that before
// enforces. Sign-in and sign-out have their own.
func needsCaller(s openapi3.SecurityRequirement) bool {
	_, basic := s["Basic"]
	_, session := s["Session"]
	return basic && session || len(s) == 0
}

// validator checks every response of a handler against the description.
type validator struct {
	tb   testing.TB
	api  *api
	doc  *openapi3.T
	seen map[string]bool // operation and status
}

func newValidator(tb testing.TB, a *api) *validator {
	return &validator{tb, a, a.description(tb), map[string]bool{}}
}

func (v *validator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	pattern := v.api.handler.Pattern(r)
	v.api.ServeHTTP(rec, r)
	v.check(pattern, r, rec)
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes())
}

func (v *validator) check(pattern string, r *http.Request, rec *httptest.ResponseRecorder) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if rec.Code >= 400 && r.Method != http.MethodOptions && pattern != "/health" && pattern != "/ready" {
		v.checkError(r, rec)
	}
	item := v.doc.Paths.Find(pattern)
	if item == nil || item.GetOperation(method) == nil {
		preflight := r.Method == http.MethodOptions && rec.Code == http.StatusNoContent
		if rec.Code != http.StatusNotFound && rec.Code != http.StatusMethodNotAllowed && rec.Code != http.StatusUnauthorized && rec.Code != http.StatusNotImplemented && !preflight {
			v.tb.Errorf("%s %s: status %d without a description", r.Method, r.URL, rec.Code)
		}
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	op := item.GetOperation(method)
	v.seen[fmt.Sprintf("%s %d", op.OperationID, rec.Code)] = true
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, Route: &routers.Route{Spec: v.doc, Path: pattern, PathItem: item, Method: method, Operation: op},
		},
		Status: rec.Code, Header: rec.Header(), Body: io.NopCloser(bytes.NewReader(rec.Body.Bytes())),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		v.tb.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
}

// checkError checks what all errors have in common.
func (v *validator) checkError(r *http.Request, rec *httptest.ResponseRecorder) {
	code := rec.Header().Get("X-Platform-Error-Code")
	if rec.Header().Get("Content-Type") != "application/json; charset=utf-8" || !strings.Contains(rec.Body.String(), `"`+code+`"`) ||
		influxv2.StatusOf(code) != rec.Code {
		v.tb.Errorf("%s %s: error %d, %v: %s", r.Method, r.URL, rec.Code, rec.Header(), rec.Body)
	}
	if allow := rec.Header().Get("Allow"); (allow != "") != (rec.Code == http.StatusMethodNotAllowed) {
		v.tb.Errorf("%s %s: status %d, Allow %q", r.Method, r.URL, rec.Code, allow)
	}
}

// TestDescriptionIsTrue replays all flows, and requests that InfluxDB lacks,
// and checks each response.
func TestDescriptionIsTrue(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range flows(t) {
		t.Run(f.Name, func(t *testing.T) {
			v := newValidator(t, newAPI(t, &keeptest.Options{Fresh: true}))
			replay(t, f, v)
			maps.Copy(seen, v.seen)
		})
	}
	t.Run("ours", func(t *testing.T) {
		a := newAPI(t, rotatable())
		v := newValidator(t, a)
		for _, q := range ourRequests(t, a) {
			r := httptest.NewRequest(q.method, q.target, strings.NewReader(q.body))
			r.Header.Set("Authorization", "Token "+a.OperatorToken)
			for i := 0; i < len(q.headers); i += 2 {
				r.Header.Set(q.headers[i], q.headers[i+1])
			}
			w := httptest.NewRecorder()
			v.ServeHTTP(w, r)
			if w.Code != q.status {
				t.Errorf("%s %s: status %d, want %d: %s", q.method, q.target, w.Code, q.status, w.Body)
			}
		}
		maps.Copy(seen, v.seen)
	})
	// Every operation must have succeeded at least once.
	for _, item := range newAPI(t, nil).description(t).Paths.Map() {
		for _, op := range item.Operations() {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(k string) bool { return strings.HasPrefix(k, op.OperationID+" 2") }) {
				t.Errorf("no answer of %s was checked", op.OperationID)
			}
		}
	}
}

type request struct {
	method, target, body string
	status               int
	headers              []string
}

// ourRequests returns requests that the flows don't contain.
func ourRequests(t *testing.T, a *api) []request {
	path := a.secrets("")
	cookie := sessionOf(a)
	// The drop guard pins a version when influxd seems to drop secrets.
	pinned := a.MustChange(t, keep.Change{Set: map[string]string{"x": "1", "y": "2", "z": "3"}})
	if w, err := a.Change(t.Context(), a.Operator(t, keep.Influxd), a.Org, keep.Change{Replace: true, Guard: true}); err != nil || w.Pinned != pinned {
		t.Fatalf("pinned %d, %v; want %d", w.Pinned, err, pinned)
	}
	revocable := a.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(a.Org), Names: []string{"a*"}})
	return []request{
		{"PATCH", path + "/values", `{"a":"1","b":"2"}`, 200, nil},
		{"PUT", path + "/values", `{"a":"1","c":"3"}`, 200, nil},
		{"PATCH", path + "/values", `{"a":null}`, 200, []string{"If-Match", `*`}},
		{"PATCH", path + "/values", `{"a":"1"}`, 412, []string{"If-Match", `"0000000000000001.2.1"`}},
		{"PATCH", path + "/values", `{"a":1}`, 400, nil},
		{"GET", path + "/values", "", 200, nil},
		{"GET", path + "/values?name=c&name=nope", "", 200, nil},
		{"GET", path + "/values", "", 304, []string{"If-None-Match", "*"}},
		{"GET", path + "/values?wait=x", "", 400, nil},
		{"GET", path + "/values?version=2&name=x", "", 200, nil},
		{"GET", path + "/values?version=99", "", 404, nil},
		{"GET", path + "/values?version=0", "", 400, nil},
		{"GET", path + "/changes", "", 200, nil},
		{"GET", path + "/changes?filter=c*&sort=changed&descending=true&limit=1000&offset=0", "", 200, nil},
		{"GET", path + "/changes?sort=size", "", 400, nil},
		{"GET", path + "/changes?name=x", "", 200, nil},
		{"GET", path + "/changes?name=nope", "", 404, nil},
		{"POST", path + "/rollback", `{"version":2,"name":"c"}`, 404, nil},
		{"POST", path + "/rollback", `{"version":1,"name":"x"}`, 200, nil},
		{"GET", path + "/history", "", 200, nil},
		{"POST", path + "/rollback", `{"version":3}`, 200, nil},
		{"POST", path + "/rollback", `{"version":99}`, 404, nil},
		{"POST", path + "/rollback", `{}`, 400, nil},
		{"GET", path + "/history", "", 200, nil},
		{"POST", path + "/dismiss", `{"version":1}`, 204, nil},
		{"POST", path + "/dismiss", `{"version":1}`, 404, nil},
		{"DELETE", path + "/values", "", 204, nil},
		{"GET", path + "/settings", "", 200, nil},
		{"PATCH", path + "/settings", `{"maxVersions":12,"deleteVersionAfter":"720h"}`, 204, nil},
		{"PATCH", path + "/settings", `{"maxVersions":-1}`, 400, nil},
		{"PATCH", path + "/settings", `null`, 400, nil},
		{"POST", path + "/rollback", `{"version":1,"name":null}`, 400, nil},
		{"POST", path + "/rollback", `{"version":1,"nam":"a"}`, 400, nil},
		{"POST", path + "/dismiss", `{"version":1,"name":"a"}`, 400, nil},
		{"PATCH", path + "/settings", `{"deleteVersionAfter":"-1s"}`, 400, nil},
		{"DELETE", path + "/settings", "", 204, nil},
		{"DELETE", path + "/changes", "", 204, nil},
		{"DELETE", path + "/history", "", 204, nil},
		{"GET", path + "/readers", "", 200, nil},
		{"GET", path + "/readers?name=a&name=never", "", 200, nil},
		{"DELETE", path + "/readers", "", 204, nil},
		{"DELETE", path + "/rollback", "", 204, nil},
		{"DELETE", path + "/dismiss", "", 204, nil},
		{"POST", "/api/v2/authorizations", fmt.Sprintf(`{"orgID":%q,"permissions":[{"action":"read","resource":{"type":"secrets","orgID":%q}},{"action":"read","resource":{"type":"users","id":%q}}],"names":["db_*"],"expiresAt":"2100-01-31T12:00:00+01:00"}`, a.Org, a.Org, a.Admin), 201, nil},
		{"GET", "/api/v2/authorizations", "", 200, nil},
		{"GET", "/api/v2/authorizations/uses", "", 200, nil},
		{"POST", "/api/v2/authorizations", fmt.Sprintf(`{"orgID":%q,"permissions":[{"action":"read","resource":{"type":"secrets"}}],"expiresAt":"soon"}`, a.Org), 400, nil},
		{"GET", "/api/v2/config", "", 200, nil},
		{"GET", "/api/v2/fluxkeep/self", "", 200, nil},
		{"GET", "/api/v2/fluxkeep/self", "", 200, []string{"Authorization", "", "Cookie", cookie}},
		{"DELETE", "/api/v2/fluxkeep/self", "", 204, []string{"Authorization", "Token " + revocable.Value}},
		{"GET", "/api/v2/fluxkeep/backup", "", 200, nil},
		{"GET", "/api/v2/fluxkeep/keys", "", 200, nil},
		{"POST", "/api/v2/fluxkeep/keys/rotate", "", 202, nil},
		{"GET", "/api/v2/fluxkeep/audit?limit=1000", "", 200, nil},
		{"GET", "/api/v2/fluxkeep/audit?limit=0", "", 400, nil},
		{"GET", "/api/v2/fluxkeep/audit?user=nobody", "", 404, nil},
		{"GET", "/api/v2/fluxkeep/scrub", "", 200, nil},
		{"GET", "/api/v2/fluxkeep/cluster", "", 200, nil},
		{"POST", "/api/v2/fluxkeep/compact", "", 204, nil},
		{"GET", "/api/v2/swagger.json", "", 200, nil},
		{"OPTIONS", "/ping", "", 200, nil},
		{"GET", "/api/v2/buckets", "", 501, nil},
		{"PATCH", path, `{}`, 415, []string{"Content-Encoding", "br"}},
		{"PATCH", path, `{}`, 400, []string{"Content-Encoding", "gzip"}},
		{"DELETE", "/api/v2/orgs/" + a.Org.String() + "/owners/0000000000000001", "", 204, nil},
		{"PUT", "/api/v2/users/" + a.Admin.String() + "/password", `{"password":"correct horse 2"}`, 204, []string{"Authorization", basic("admin", a.Password), "Cookie", cookie}},
	}
}
