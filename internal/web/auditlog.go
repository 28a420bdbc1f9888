package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// auditPageSize is the number of records on a page.
const auditPageSize = 100

type auditView struct {
	frame
	Path    string // of the page
	Filter  auditFilter
	Records []auditRow
	Next    uint64 // the Before of the next page, 0 after the last
	First   bool   // nothing newer was left out
	Last    uint64 // the number of the log's last record
	Vouched uint64 // up to here the store vouches for the log; operators only
	Damage  []string
	All     bool // the page shows the log of the server
}

func (*auditView) page() string { return "audit" }

// auditFilter is what was typed.
type auditFilter struct {
	Secret, Action, Outcome, Protocol, User, Since, Until string
}

// Any reports whether something was typed.
func (f auditFilter) Any() bool { return f != auditFilter{} }

type auditRow struct {
	keep.AuditRecord
	Names []string // the first few secrets
	More  int      // further ones
	JSON  string   // the whole record
}

// Who names the caller.
func (r auditRow) Who() string {
	for _, name := range []string{r.TokenName, r.Token, r.UserName, r.User} {
		if name != "" {
			return name
		}
	}
	return ""
}

// Bad reports whether the access wasn't allowed.
func (r auditRow) Bad() bool { return r.Code != "" }

const auditNames = 3

func auditRowOf(r keep.AuditRecord) auditRow {
	row := auditRow{AuditRecord: r, Names: append(r.Record.Names[:len(r.Record.Names):len(r.Record.Names)], r.Removed...)}
	if n := len(row.Names); n > auditNames {
		row.Names, row.More = row.Names[:auditNames], n-auditNames
	}
	r.Called = "" // sealed
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	e.Encode(r.Record) // it has texts and numbers only
	row.JSON = b.String()
	return row
}

// vouched returns the number of the record in a checkpoint, 0 if there is none.
func vouched(checkpoint string) uint64 {
	number, _, _ := strings.Cut(checkpoint, ":")
	n, _ := strconv.ParseUint(number, 10, 64)
	return n
}

// auditPage shows the audit log of the organization in the path or, without one, of the
// server. The filter is a POST, so that its text is not in an address.
func (c *call) auditPage() error {
	v := &auditView{Path: c.r.URL.Path, First: true, All: c.org == 0, Filter: auditFilter{
		Secret: c.form.get("secret"), Action: c.form.get("action"), Outcome: c.form.get("outcome"),
		Protocol: c.form.get("protocol"), User: c.form.get("actor"), Since: c.form.get("since"), Until: c.form.get("until"),
	}}
	if !c.caller.ReadsAudit(c.org) {
		return c.refuse("audit.read")
	}
	q := keep.AuditQuery{
		Organization: c.org, Secret: v.Filter.Secret, Action: v.Filter.Action, Outcome: v.Filter.Outcome,
		Protocol: v.Filter.Protocol, UserName: v.Filter.User, Limit: auditPageSize,
	}
	for _, t := range []struct {
		field, text string
		into        *time.Time
		end         time.Duration
	}{{"since", v.Filter.Since, &q.Since, 0}, {"until", v.Filter.Until, &q.Until, 24 * time.Hour}} {
		if t.text == "" {
			continue
		}
		day, err := time.Parse(time.DateOnly, t.text)
		if err != nil {
			v.Errors = append(v.Errors, fieldError{t.field, "Enter a date such as 2030-01-31."})
		}
		*t.into = day.Add(t.end)
	}
	if text := c.form.get("before"); text != "" {
		before, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return errForm
		}
		q.Before, v.First = before, false
	}
	if len(v.Errors) > 0 {
		return c.show(http.StatusUnprocessableEntity, v)
	}
	found, err := c.keep.AuditLog(c.ctx(), c.caller, q)
	if err != nil {
		if v.Filter.User == "" || keep.CodeOf(err) != keep.CodeNotFound {
			return err
		}
		v.Errors = []fieldError{{"actor", "There is no such user, or you don't have access to it."}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	v.Next, v.Last, v.Vouched, v.Damage = found.Next, found.Last, vouched(found.Checkpoint), found.Damage
	for _, r := range found.Records {
		v.Records = append(v.Records, auditRowOf(r))
	}
	return c.show(http.StatusOK, v)
}
