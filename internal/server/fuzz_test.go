package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
)

// FuzzRequests sends requests through the whole handler. These must never happen:
//
//   - a panic, a redirect, or a status that reports a failure of the server;
//   - an error without the protocol's form;
//   - a change by a refused request, or by a caller without any permission to write;
//   - a change or a refusal that is not in the audit log;
//   - a value, a token or a password in an error, in the log, or in an answer to a
//     caller without permission to read.
//
// The seeds are the rows of the access table, so new routes are fuzzed too. route is
// such a row's route, whose placeholders are replaced; who is an index into the
// world's callers.
func FuzzRequests(f *testing.F) {
	beginning := newWorld(f)
	operator := slices.IndexFunc(beginning.people, func(p person) bool { return p.column == "operator" })
	reader := slices.IndexFunc(beginning.people, func(p person) bool { return p.column == "reader" })
	limited := slices.IndexFunc(beginning.people, func(p person) bool { return p.column == "limited" })
	for i, row := range rows() {
		if testing.Short() && i%10 != 0 {
			continue
		}
		f.Add(row.name(), byte(operator), "", "", []byte(row.body))
		f.Add(row.name(), byte(reader), "", "", []byte(row.body))
		f.Add(row.name(), byte(i), "", "", []byte(row.body)) // each caller in turn
	}
	const values, data = "/api/v2/orgs/{orgID}/secrets/values", "/v1/secret/data/{org...}"
	for _, s := range []struct{ route, query, header, body string }{
		{"GET " + values, "", "", ""},
		{"GET " + data, "", "", ""},
		{"PATCH " + values, "", `If-Match: "0.1.1"`, `{"a":null,"b":"\ud83d\ude00"}`},
		{"PUT " + values, "", "If-Match: *\r\nContent-Encoding: gzip", "\x1f\x8b\x08"},
		{"GET " + values, "name=a&name=b1&wait=0s", "If-None-Match: W/\"1.1.1\", *", ""},
		{"PATCH /api/v2/orgs/{orgID}/secrets", "", "Transfer-Encoding: chunked", "5\r\n{\"a\":\r\n"},
		{"POST /api/v2/authorizations", "", "", `{"orgID":"{orgID}","permissions":[{"action":"write","resource":{"type":"instance"}}],"names":["*"],"expiresAt":"9999-12-31T23:59:59Z"}`},
		{"GET /api/v2/orgs", "limit=100&offset=-1&descending=true&after={orgID}", "", ""},
		{"GET /api/v2/users", "name=admin&id={userID}", "Origin: http://elsewhere", ""},
		{"POST /api/v2/setup", "", "", `{"username":"x","password":"12345678","org":"acme","bucket":"b","token":"t"}`},
		{"POST /api/v2/signin", "", "Authorization: Basic YWRtaW46eA==", ""},
		{"DELETE /api/v2/orgs/{orgID}/secrets/..", "", "", ""},
		{"DELETE /api/v2/orgs/{orgID}/secrets/%2e%2E%00", "", "", ""},
		{"OPTIONS /api/v2/orgs", "", "Origin: http://x\r\nAccess-Control-Request-Method: GET", ""},
		{"PUT " + data, "", "", `{"data":{"a":"1"},"options":{"cas":18446744073709551615}}`},
		{"PATCH " + data, "version=-1", "Content-Type: application/merge-patch+json", `{"data":{"a":null,"b1":"2"},"options":null}`},
		{"GET " + data, "version=2&list=true", "X-Vault-Wrap-TTL: 60", ""},
		{"POST /v1/secret/destroy/acme", "", "", `{"versions":"1,2"}`},
		{"POST /v1/secret/metadata/{org...}", "", "", `{"max_versions":-1,"delete_version_after":"9999999h","custom_metadata":{"a":"b"}}`},
		{"GET /v1/sys/health", "activecode=299&uninitcode=599", "", ""},
		{"POST /v1/sys/capabilities-self", "", "X-Vault-Namespace: root/", `{"paths":"secret/data/acme,sys/mounts,"}`},
		{"GET /influxd/v1/sys/internal/ui/mounts/secret/data/x", "", "", ""},
		{"GET /api/v2/buckets", "", "", ""},
		{"GET //", "%zz", "", ""},
	} {
		f.Add(s.route, byte(operator), s.query, s.header, []byte(s.body))
		f.Add(s.route, byte(limited), s.query, s.header, []byte(s.body))
	}
	x := &fuzzed{beginning: beginning, dir: f.TempDir()}
	f.Cleanup(func() {
		if x.world != nil {
			x.Close(f)
		}
	})
	f.Fuzz(func(t *testing.T, route string, who byte, query, header string, body []byte) {
		x.again(t)
		p := &x.people[int(who)%len(x.people)]
		r := x.request(t, route, p, query, header, body)
		if strings.Contains(r.URL.RawQuery, "wait") {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			r = r.WithContext(ctx)
		}
		answer := x.ask(r)
		x.check(t, r, p, answer, r.Context().Err() != nil)
	})
}

// fuzzed is the world that is being fuzzed. It is reused until an input changes it,
// so that each input finds the same state.
type fuzzed struct {
	*world
	beginning *world
	dir       string
	stale     bool
	before    map[string]string
	end       int64 // of the audit log
}

// lasting is a testing.TB for objects that outlive one input.
type lasting struct {
	testing.TB
	dir string
}

func (l lasting) Cleanup(func())           {}
func (l lasting) Context() context.Context { return context.Background() }
func (l lasting) TempDir() string {
	dir, err := os.MkdirTemp(l.dir, "")
	if err != nil {
		l.Fatal(err)
	}
	return dir
}

// again restores the world's initial state.
func (x *fuzzed) again(t *testing.T) {
	t.Helper()
	x.beginning.log.Reset()
	if x.world != nil && !x.stale {
		return
	}
	if x.world != nil {
		x.forget(t)
	}
	x.world, x.stale = x.beginning.clone(lasting{t, x.dir}), false
	x.before = x.Contents(t)
	_, x.end = x.AuditRecords(t, 0)
}

// request parses text as a request that arrives over a connection.
func (x *fuzzed) request(t *testing.T, route string, p *person, query, header string, body []byte) *http.Request {
	t.Helper()
	there := x.placeholders(x.org, x.user, x.token)
	method, target, _ := strings.Cut(there.Replace(route), " ")
	if query != "" {
		target += "?" + there.Replace(query)
	}
	body = []byte(there.Replace(string(body)))
	if !strings.Contains(strings.ToLower(header), "transfer-encoding") {
		header += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	text := method + " " + target + " HTTP/1.1\r\nHost: test\r\n" + strings.TrimPrefix(header, "\r\n") + "\r\n\r\n" + string(body)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Skip("net/http refuses it")
	}
	p.show(r)
	return r
}

func (x *fuzzed) check(t *testing.T, r *http.Request, p *person, answer *httptest.ResponseRecorder, late bool) {
	t.Helper()
	after := x.Contents(t)
	changed := !maps.Equal(x.before, after)
	x.before = after
	records, end := x.AuditRecords(t, x.end)
	x.end = end
	status, text := answer.Code, answer.Body.String()
	x.stale = x.stale || changed || status < 300 && r.Method != http.MethodGet && r.Method != http.MethodHead
	fail := func(format string, args ...any) {
		t.Helper()
		x.stale = true
		t.Fatalf("%s %s by %s: %d %.500s: %s", r.Method, r.RequestURI, p.name, status, text, fmt.Sprintf(format, args...))
	}
	if x.panics() > 0 {
		fail("it panicked:\n%s", x.log)
	}
	if status >= 300 && status < 400 && status != http.StatusNotModified {
		fail("redirected to %s", answer.Header().Get("Location"))
	}
	chosen := strings.HasSuffix(r.URL.Path, "/sys/health") // the client chooses the status
	if status >= 500 && status != http.StatusNotImplemented && !late && !chosen {
		fail("the server failed:\n%s", x.log)
	}
	if status >= 400 && r.Method != http.MethodHead && !chosen {
		if err := errorForm(r.URL.Path, answer.Body.Bytes()); err != nil {
			fail("%v", err)
		}
	}
	if status >= 400 && changed {
		fail("refused, and the store is not what it was")
	}
	if changed && !x.mayChange(r, p) {
		fail("a caller without write permission changed the store")
	}
	if changed && !slices.ContainsFunc(records, func(r audit.Record) bool { return r.Outcome == audit.Allowed }) {
		fail("the change is not in the audit log")
	}
	if (status == 401 || status == 403) && len(records) == 0 && !strings.Contains(r.URL.Path, "/sys/internal/ui/mounts/") {
		fail("the refusal is not in the audit log")
	}
	told := text + fmt.Sprint(answer.Header())
	if status < 300 && p.value != "" {
		told = strings.ReplaceAll(told, p.value, "") // Vault's protocol shows clients their own token
	}
	if (status >= 400 || !x.mayRead(p)) && x.leak(told) != "" {
		fail("it tells %s", x.leak(told))
	}
	if p.column == "limited" && strings.Contains(text, worldValue) {
		fail("it tells a value that the token is not for")
	}
	if log := x.log.String(); x.leak(log) != "" {
		fail("the log has %s", x.leak(log))
	}
}

// mayChange reports whether the caller may change something. Every caller may end
// their own token or session, and every token may create one with the same rights in
// Vault's protocol.
func (x *fuzzed) mayChange(r *http.Request, p *person) bool {
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch p.column {
	case "unknown", "inactive":
		return false
	case "gone":
		return strings.HasSuffix(path, "/signout")
	case "reader":
		return strings.HasSuffix(path, "/revoke-self") || strings.HasSuffix(path, "/fluxkeep/self") || strings.HasSuffix(path, "/auth/token/create")
	}
	return true
}

// mayRead reports whether an answer may contain values. A token is only in the answer
// to its creation.
func (x *fuzzed) mayRead(p *person) bool {
	return !slices.Contains([]string{"unknown", "inactive", "gone", "stranger"}, p.column)
}

// errorForm checks that an error has the protocol's form.
func errorForm(path string, body []byte) error {
	if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/influxd/v1/") {
		var e struct{ Errors *[]string }
		if err := json.Unmarshal(body, &e); err != nil || e.Errors == nil {
			if len(body) > 0 && bytes.Contains(body, []byte(`"data"`)) {
				return nil // the 404 for a deleted version has its metadata
			}
			return fmt.Errorf("the error does not have Vault's form: %w", err)
		}
		return nil
	}
	var e struct{ Code, Message string }
	if err := json.Unmarshal(body, &e); err != nil || e.Code == "" || e.Message == "" {
		return errors.Join(errors.New("the error does not have InfluxDB's form"), err)
	}
	return nil
}
