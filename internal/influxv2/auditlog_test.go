package influxv2_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

type auditPage struct {
	Records []struct {
		Number             uint64
		Action, Org, OrgID string
		User, Protocol     string
		Names, Removed     []string
		Target             string
	}
	Next, Last uint64
}

func (a *api) audit(t *testing.T, query string, headers ...string) auditPage {
	t.Helper()
	var page auditPage
	w := a.do(t, "GET", "/api/v2/fluxkeep/audit"+query, "", headers...)
	if err := json.Unmarshal(w.Body.Bytes(), &page); w.Code != http.StatusOK || err != nil {
		t.Fatalf("%s: %d %s, %v", query, w.Code, w.Body, err)
	}
	return page
}

func TestAuditLogPages(t *testing.T) {
	a := newAPI(t, nil)
	for range 5 {
		a.do(t, "GET", "/api/v2/orgs/"+a.Org.String()+"/secrets", "", "User-Agent", "fluxkeep/1.0 (linux)")
	}
	query := "?limit=2&action=secrets.list&protocol=cli&org=acme"
	var numbers []uint64
	for page, next := a.audit(t, query), uint64(0); ; page = a.audit(t, query+"&before="+jsonNumber(next)) {
		for _, r := range page.Records {
			if r.Org != "acme" || r.User != "admin" || r.Protocol != "cli" {
				t.Errorf("%+v", r)
			}
			numbers = append(numbers, r.Number)
		}
		if next = page.Next; next == 0 {
			break
		}
	}
	if len(numbers) != 5 {
		t.Errorf("records %v", numbers)
	}
}

func jsonNumber(n uint64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// TestAuditLogWaits: what happens after a position ends the wait, and is in the
// answer.
func TestAuditLogWaits(t *testing.T) {
	a := newAPI(t, nil)
	last := a.audit(t, "?limit=1").Last
	a.MustChange(t, keep.Change{Set: map[string]string{"db": "x"}})
	page := a.audit(t, "?wait=5m&secret=db&after="+jsonNumber(last))
	if len(page.Records) != 1 || page.Records[0].Names[0] != "db" {
		t.Errorf("%+v", page)
	}
}

// TestAuditLogRefusesOtherParameters refuses each parameter that would otherwise
// be left out, so that a typing mistake doesn't show all records.
func TestAuditLogRefusesOtherParameters(t *testing.T) {
	a := newAPI(t, nil)
	for _, query := range []string{
		"user=", "secret=", "org=", "secrets=db", "orgID=1", "userID=x", "tokenID=0", "outcome=denied", "since=yesterday", "until=2h",
		"before=0", "before=x", "after=-1", "limit=1001", "limit=x", "after=1&wait=6m", "secret=a&secret=b",
	} {
		if w := a.do(t, "GET", "/api/v2/fluxkeep/audit?"+query, ""); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	records, _ := a.AuditRecords(t, 0)
	for _, r := range records {
		if r.Action == "audit.read" {
			t.Errorf("a refused query is recorded as %+v", r)
		}
	}
	owner := a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org)})
	w := a.do(t, "GET", "/api/v2/fluxkeep/audit?secret="+url.QueryEscape("db"), "", "Authorization", "Token "+owner.Value)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without an owner's rights: %d %s", w.Code, w.Body)
	}
}
