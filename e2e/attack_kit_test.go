package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The attack suite (TestAttack…) runs the program with its default flags, and does
// what SECURITY.md allows an attacker to do.

// absentID identifies nothing.
const absentID = "00000000deadbeef"

// tenants is a server with two organizations, one owned by the attacker and one by
// the operator.
type tenants struct {
	*server
	operatorID, operatorToken string // IDs
	attackerID, attackerOrg   string
	attackerToken             string
	attackerPassword          string
	attackerName              string
}

// attackedStoreVariable names the store of the attacked servers, if it isn't the embedded
// one.
const attackedStoreVariable = "FLUXKEEP_E2E_STORE"

// attackedStore returns the flags for the store of the attacked servers.
func attackedStore(t testing.TB) []string {
	t.Helper()
	if os.Getenv(attackedStoreVariable) == "etcd" {
		return etcdStore(t)
	}
	return nil
}

func startTenants(t testing.TB) *tenants {
	t.Helper()
	x := &tenants{server: start(t, attackedStore(t)...)}
	made := x.setUp()
	x.operatorID, x.operatorToken = made.User.ID, made.Auth.ID
	x.attackerName, x.attackerPassword = x.private("mallory"), x.private("mallory's password")
	x.attackerOrg = x.newOrg(x.private("mallory's"))
	x.attackerID = x.newUser(x.attackerName, x.attackerPassword)
	x.must(201, x.ask("POST", "/api/v2/orgs/"+x.attackerOrg+"/owners", x.token, object{"id": x.attackerID}))
	for _, org := range []string{x.orgID, x.attackerOrg} {
		x.must(204, x.ask("PATCH", "/api/v2/orgs/"+org+"/secrets", x.token, object{x.secretName("a"): x.private("a"), x.secretName("b"): x.private("b")}))
	}
	x.attackerToken = x.newTokenOf(x.attackerID, x.attackerOrg, x.ownerRights())
	return x
}

// object is a JSON object.
type object = map[string]any

func permission(action, typ, id, org string) object {
	resource := object{"type": typ}
	if id != "" {
		resource["id"] = id
	}
	if org != "" {
		resource["orgID"] = org
	}
	return object{"action": action, "resource": resource}
}

func both(typ, id, org string) []object {
	return []object{permission("read", typ, id, org), permission("write", typ, id, org)}
}

// ownerRights are those of an owner of the attacker's organization.
func (x *tenants) ownerRights() []object {
	return slices.Concat(both("secrets", "", x.attackerOrg), both("authorizations", "", x.attackerOrg),
		both("orgs", x.attackerOrg, ""), both("users", x.attackerID, ""))
}

func (x *tenants) newOrg(name string) (id string) {
	x.t.Helper()
	return x.must(201, x.ask("POST", "/api/v2/orgs", x.token, object{"name": name})).field("id")
}

func (x *tenants) newUser(name, password string) (id string) {
	x.t.Helper()
	id = x.must(201, x.ask("POST", "/api/v2/users", x.token, object{"name": name})).field("id")
	x.must(204, x.ask("POST", "/api/v2/users/"+id+"/password", x.token, object{"password": password}))
	return id
}

// newTokenOf creates a token as the operator. Limits are further fields of the
// request.
func (x *tenants) newTokenOf(user, org string, permissions []object, limits ...object) (token string) {
	x.t.Helper()
	body := object{"orgID": org, "userID": user, "permissions": permissions}
	for _, l := range limits {
		for k, v := range l {
			body[k] = v
		}
	}
	return x.confide(x.must(201, x.ask("POST", "/api/v2/authorizations", x.token, body)).field("token"))
}

// reply is the server's answer.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   string
}

func (a reply) String() string { return fmt.Sprintf("%s: %d %s", a.what, a.status, a.body) }

func (a reply) ok() bool { return a.status/100 == 2 }

// field returns a top-level string of the answer, "" if it is missing.
func (a reply) field(name string) string {
	var o object
	_ = json.Unmarshal([]byte(a.body), &o) // without JSON there are no fields
	text, _ := o[name].(string)
	return text
}

func (x *tenants) must(status int, a reply) reply {
	x.t.Helper()
	if a.status != status {
		x.t.Fatalf("%v, want %d", a, status)
	}
	return a
}

// ask sends a request without cleaning its target. The credential is a token, or ""
// for none; body is nil, text, or a value to encode as JSON; headers are pairs of
// name and value that replace others.
func (s *server) ask(method, target, credential string, body any, headers ...string) reply {
	s.t.Helper()
	a := reply{t: s.t, what: method + " " + target}
	text, isText := body.(string)
	if body != nil && !isText {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(b)
	}
	h := http.Header{"Host": {"x"}, "Connection": {"close"}}
	if credential != "" {
		h.Set("Authorization", "Token "+credential)
		h.Set("X-Vault-Token", credential)
	}
	if method == "PATCH" && strings.Contains(target, "/v1/") {
		h.Set("Content-Type", "application/merge-patch+json")
	}
	if body != nil {
		h.Set("Content-Length", fmt.Sprint(len(text)))
	}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	c, err := net.Dial("tcp", s.address())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	var request strings.Builder
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\n", method, target)
	if err := h.Write(&request); err != nil {
		s.t.Fatal(err)
	}
	request.WriteString("\r\n" + text)
	// The server may answer before it has read everything.
	sent := make(chan struct{})
	go func() { defer close(sent); _, _ = io.WriteString(c, request.String()) }()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		a.body = err.Error()
		return a
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		a.body = err.Error()
		return a
	}
	c.Close()
	<-sent
	a.status, a.header, a.body = r.StatusCode, r.Header, string(b)
	return a
}

// signIn returns the session's cookie, or "" if it is refused.
func (s *server) signIn(user, password string) string {
	s.t.Helper()
	q, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+"/api/v2/signin", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	q.SetBasicAuth(user, password)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	for _, c := range r.Cookies() {
		s.confide(c.Value)
		return c.Name + "=" + c.Value
	}
	return ""
}

// auditRecord has the fields of an audit record that the attacks check.
type auditRecord struct {
	Action, Outcome, Token, Detail string
	Count                          int
}

// auditRecords returns the log's records and its size in bytes.
func (s *server) auditRecords() (records []auditRecord, size int) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "audit.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			continue // is being written
		}
		r := auditRecord{Count: 1}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			s.t.Fatalf("audit log: %v in %q", err, line)
		}
		records = append(records, r)
	}
	return records, len(text)
}

// refusals counts refused requests in the audit log, which may still miss the last
// ones.
func (s *server) refusals() (n int) {
	s.t.Helper()
	records, _ := s.auditRecords()
	for _, r := range records {
		if r.Outcome == "refused" {
			n += r.Count
		}
	}
	return n
}

// together calls do n times concurrently.
func together(n int, do func(i int)) {
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		group.Go(func() { <-start; do(i) })
	}
	close(start)
	group.Wait()
}

// into decodes the answer.
func (a reply) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%v: %v", a, err)
	}
}
