package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAttackAudit checks that every refusal is recorded, whatever the request
// contains, and that refusals can't fill the disk.
func TestAttackAudit(t *testing.T) {
	long(t, "attacks take minutes")
	t.Run("large requests", attackAuditBySize)
	t.Run("many strangers", attackAuditByNumber)
	t.Run("reads and refusals at once", attackAuditAtOnce)
	t.Run("the process ends half-way", attackAuditByKill)
	t.Run("the file disappears", attackAuditFile)
}

// attackAuditBySize sends the largest possible requests that are refused, and
// measures what each adds to the log.
func attackAuditBySize(t *testing.T) {
	x := startTenants(t)
	off := x.newTokenOf(x.attackerID, x.attackerOrg, x.ownerRights(), object{"status": "inactive"})
	reader := x.newTokenOf(x.attackerID, x.attackerOrg, []object{permission("read", "secrets", "", x.attackerOrg), permission("read", "orgs", x.attackerOrg, "")})
	own, theirs := "/api/v2/orgs/"+x.attackerOrg, "/api/v2/orgs/"+x.orgID
	long := strings.Repeat("n", 3_000_000)
	var many strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&many, `"\u0001%d":"",`, i)
	}
	manyNames := "{" + strings.TrimSuffix(many.String(), ",") + "}"
	header := strings.Repeat("h\u00e9", 10_000)
	const most = 4096 // bytes of one record
	for _, who := range []struct{ name, token string }{{"a reader", reader}, {"a token that is switched off", off}, {"nobody", ""}, {"a wrong token", strings.Repeat("w", 30_000)}} {
		requests := 0
		records, from := x.auditRecords()
		before := x.refusals()
		ask := func(method, path string, body any, headers ...string) {
			a := x.ask(method, path, who.token, body, headers...)
			switch a.status {
			case 401, 403, 404: // refused
				requests++
			case 0, 200, 400, 413, 431: // allowed, malformed, or not read
			default:
				t.Errorf("%s by %s: answered %d %.200s", method, who.name, a.status, a.body)
			}
		}
		for _, org := range []string{own, theirs} {
			ask("PATCH", org+"/secrets", object{long: "x"})
			ask("PATCH", org+"/secrets", manyNames)
			ask("PATCH", org+"/secrets/values", manyNames)
			ask("PUT", org+"/secrets/values", object{long[:100_000]: "x", "y": "z"})
			ask("POST", org+"/secrets/delete", object{"secrets": []string{long[:1000], long[:1024], "c"}})
			ask("DELETE", org+"/secrets/"+long[:1000], nil)
			ask("GET", org+"/secrets/values?name="+long[:50_000], nil, "Cookie", "x="+header[:100])
			ask("PATCH", org, object{"name": long[:900_000]})
			ask("POST", org+"/members", object{"id": x.operatorID, "name": long[:900_000]})
		}
		for _, org := range []string{x.attackerOrg, x.orgID, long[:40_000]} {
			ask("POST", "/v1/secret/data/"+org, `{"data":`+manyNames+`}`)
			ask("PATCH", "/influxd/v1/secret/data/"+org, `{"data":`+manyNames+`}`)
			ask("POST", "/v1/secret/metadata/"+org, object{"custom_metadata": object{"x": long[:400]}})
			ask("DELETE", "/v1/secret/metadata/"+org, nil)
		}
		ask("POST", "/api/v2/users", object{"name": long[:900_000]})
		ask("POST", "/api/v2/authorizations", object{"orgID": x.orgID, "description": long[:900_000], "permissions": both("secrets", "", x.orgID)})
		for _, h := range []string{"X-Request-Id", "X-Forwarded-For", "Forwarded", "Traceparent", "Uber-Trace-Id", "Zap-Trace-Span", "User-Agent", "Origin", "Referer", "X-Vault-Namespace"} {
			ask("DELETE", theirs, nil, h, header)
		}
		ask("POST", "/api/v2/signin", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(long[:20_000]+":x")))
		if who.token == "" {
			ask("POST", "/v1/auth/approle/login", object{"role_id": long[:20_000], "secret_id": long[:20_000]})
		}
		now, to := x.auditRecords()
		if n := len(now) - len(records); to-from > most*max(n, 1) || n > requests+5 {
			t.Errorf("%d requests by %s have %d records of %d bytes", requests, who.name, n, to-from)
		}
		if who.name == "a reader" {
			x.stop()                                        // records the pending counts
			if n := x.refusals() - before; n < requests-4 { // some, such as sign-ins, count as a stranger's
				t.Errorf("%d requests by %s were refused, and the log has %d", requests, who.name, n)
			}
			x.again()
		}
		t.Logf("%d refused requests by %s: %d records, %d bytes", requests, who.name, len(now)-len(records), to-from)
	}
}

// attackAuditByNumber sends thousands of requests that are refused. The log
// grows by a few bytes, and counts each.
func attackAuditByNumber(t *testing.T) {
	x := startTenants(t)
	off := x.newTokenOf(x.attackerID, x.attackerOrg, x.ownerRights(), object{"status": "inactive"})
	powerless := x.newTokenOf(x.attackerID, x.attackerOrg, []object{permission("read", "buckets", "", x.attackerOrg)})
	const times = 4000
	org := "/api/v2/orgs/" + x.orgID
	requests := []string{
		"GET /api/v2/me", "DELETE " + org, "PATCH " + org, "GET " + org + "/secrets", "PATCH " + org + "/secrets", "PUT " + org + "/secrets/values", "DELETE " + org + "/secrets/x",
		"POST " + org + "/secrets/delete", "POST " + org + "/secrets/rollback", "POST " + org + "/secrets/dismiss", "POST " + org + "/members", "DELETE " + org + "/owners/" + x.operatorID,
		"POST /api/v2/authorizations", "DELETE /api/v2/authorizations/" + x.operatorToken, "POST /api/v2/users", "PATCH /api/v2/users/" + x.operatorID, "GET /api/v2/fluxkeep/backup",
		"GET /v1/secret/data/" + x.orgID, "POST /v1/secret/data/" + absentID, "PATCH /influxd/v1/secret/data/" + x.orgID, "DELETE /v1/secret/metadata/" + x.orgID, "LIST /v1/secret/metadata",
	}
	before := x.refusals()
	_, from := x.auditRecords()
	var refused atomic.Int64
	work := make(chan int)
	go func() {
		for i := range times {
			work <- i
		}
		close(work)
	}()
	together(attackers, func(int) {
		for i := range work {
			method, path, _ := strings.Cut(requests[i%len(requests)], " ")
			q, err := http.NewRequest(method, x.url+path, strings.NewReader("{}"))
			if err != nil {
				t.Error(err)
				return
			}
			q.Header.Set("Content-Type", "application/merge-patch+json")
			switch i / len(requests) % 5 {
			case 0:
				q.Header.Set("Authorization", "Token "+off)
				q.Header.Set("X-Vault-Token", off)
			case 1, 2:
				q.Header.Set("Authorization", "Token "+randomWord())
				q.Header.Set("X-Vault-Token", randomWord())
			case 3:
				q.Header.Set("Cookie", "influxdb-oss-session="+randomWord())
			case 4:
				if strings.HasPrefix(path, org+"/secrets") {
					q.Header.Set("Authorization", "Token "+powerless)
					q.Header.Set("X-Vault-Token", powerless)
				}
			}
			q.Header.Set("X-Forwarded-For", fmt.Sprintf("10.0.%d.%d", i/250, i%250))
			r, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Error(err)
				return
			}
			r.Body.Close()
			switch r.StatusCode {
			case 401, 403, 404:
				refused.Add(1)
			default:
				t.Errorf("%s %s: answered %d", q.Method, q.URL.Path, r.StatusCode)
			}
		}
	})
	x.stop() // records the pending counts
	_, to := x.auditRecords()
	if n := int64(x.refusals() - before); n != refused.Load() {
		t.Errorf("%d requests were refused, and the log has %d", refused.Load(), n)
	}
	if to-from > 150_000 {
		t.Errorf("%d refusals took %d bytes", refused.Load(), to-from)
	}
	t.Logf("%d refusals took %d bytes", refused.Load(), to-from)
	x.verifyAudit()
	x.again()
}

// verifyAudit checks the chain of a stopped server's log.
func (s *server) verifyAudit() {
	s.t.Helper()
	args := []string{"audit", "verify", "--data-dir", s.dir}
	if i := slices.Index(s.args, "--store"); i >= 0 {
		args = append(args, s.args[i:]...)
	}
	output(s.t, command(s.t, s.home, program, args...))
}

// attackAuditAtOnce mixes reads with refused requests. Each read has its own
// record, and each refusal of a known token is counted.
func attackAuditAtOnce(t *testing.T) {
	x := startTenants(t)
	const each, workers = 40, 8
	count := func() (reads, refused int) {
		records, _ := x.auditRecords()
		for _, r := range records {
			switch {
			case r.Action == "secrets.read" && r.Outcome == "allowed":
				reads++
			case r.Outcome == "refused":
				refused += r.Count
			}
		}
		return reads, refused
	}
	reads, refused := count()
	together(workers, func(i int) {
		for range each {
			for _, org := range []string{x.attackerOrg, x.orgID} {
				status, _, err := x.do("GET", "/v1/secret/data/"+org, x.attackerToken, nil)
				if err != nil || (status == 200) != (org == x.attackerOrg) {
					t.Errorf("answered %d, %v", status, err)
				}
			}
		}
	})
	x.stop() // records the pending counts
	r, f := count()
	if r-reads != each*workers || f-refused != each*workers {
		t.Errorf("of %d reads and as many refusals, %d and %d are recorded", each*workers, r-reads, f-refused)
	}
}

// attackAuditByKill kills the server in the middle of refusals and changes.
func attackAuditByKill(t *testing.T) {
	x := startTenants(t)
	for range 3 {
		var acknowledged atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			together(8, func(i int) {
				for n := range 1000 {
					_, _, err := x.do("GET", "/api/v2/me", "", nil)
					if err == nil && i%2 == 0 {
						var status int
						status, _, err = x.do("PATCH", "/api/v2/orgs/"+x.attackerOrg+"/secrets", x.attackerToken, fmt.Appendf(nil, `{"n%d_%d":"x"}`, i, n))
						if status == 204 {
							acknowledged.Add(1)
						}
					}
					if err != nil {
						return
					}
				}
			})
		}()
		eventually(t, "change", func() bool { return acknowledged.Load() > 100 })
		x.kill()
		<-done
		x.again()
		x.stop()
		x.verifyAudit()
		x.again()
	}
}

// attackAuditFile removes the log, or replaces it with /dev/full and the like.
func attackAuditFile(t *testing.T) {
	x := startTenants(t)
	path := filepath.Join(x.dir, "audit.log")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "word of the removed log", func() bool {
		a := x.ask("GET", "/health", "", nil)
		return strings.Contains(a.body, "audit")
	})
	x.must(204, x.ask("PATCH", "/api/v2/orgs/"+x.orgID+"/secrets", x.token, object{x.secretName("a"): "x"}))
	eventually(t, "new log", func() bool { _, err := os.Stat(path); return err == nil })
	x.stop()

	null := start(t, "--audit-log", os.DevNull)
	if a := null.ask("GET", "/health", "", nil); !strings.Contains(a.body, "audit") {
		t.Errorf("with a log that can't be written: %v", a)
	}
	x.again()
}
