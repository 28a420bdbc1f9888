package influxv2

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type auditBody struct {
	Records []auditRecordBody `json:"records"`
	// Next is the "before" of the next page, Last the "after" of what follows.
	Next       uint64   `json:"next,omitempty"`
	Last       uint64   `json:"last"`
	Checkpoint string   `json:"checkpoint,omitempty"`
	Damage     []string `json:"damage,omitempty"`
}

// auditRecordBody describes a record. Empty fields are omitted, except those that
// every record has.
type auditRecordBody struct {
	Number     uint64    `json:"number"`
	Time       time.Time `json:"time"`
	Action     string    `json:"action"`
	Outcome    string    `json:"outcome"`
	Code       string    `json:"code,omitempty"`
	OrgID      string    `json:"orgID,omitempty"`
	Org        string    `json:"org,omitempty"`
	UserID     string    `json:"userID,omitempty"`
	User       string    `json:"user,omitempty"`
	TokenID    string    `json:"tokenID,omitempty"`
	Token      string    `json:"token,omitempty"` // its description
	LoginID    string    `json:"loginID,omitempty"`
	Protocol   string    `json:"protocol,omitempty"`
	Remote     string    `json:"remote,omitempty"`
	Request    string    `json:"request,omitempty"`
	Trace      string    `json:"trace,omitempty"`
	Version    uint64    `json:"version,omitempty"`
	Names      []string  `json:"names,omitempty"`
	Removed    []string  `json:"removed,omitempty"`
	TargetID   string    `json:"targetID,omitempty"`
	TargetName string    `json:"target,omitempty"`
	Count      uint64    `json:"count,omitempty"`
	Detail     string    `json:"detail,omitempty"`
}

// auditLog sends a page of the audit log. With the parameter wait it first waits
// for a record after the given position.
func (c *call) auditLog() error {
	q, wait, err := c.auditQuery()
	if err != nil {
		return err
	}
	if wait > 0 {
		err := c.waiting(wait, func(ctx context.Context) error { return c.keep.WaitAudit(ctx, c.caller, q) })
		if err != nil {
			return err
		}
	}
	page, err := c.keep.AuditLog(c.ctx(), c.caller, q)
	if err != nil {
		return err
	}
	out := auditBody{
		Records: make([]auditRecordBody, len(page.Records)), Next: page.Next, Last: page.Last,
		Checkpoint: page.Checkpoint, Damage: page.Damage,
	}
	for i, r := range page.Records {
		out.Records[i] = auditRecordBody{
			Number: r.Seq, Time: r.Time, Action: r.Action, Outcome: r.Outcome, Code: r.Code,
			OrgID: r.Organization, Org: r.OrganizationName, UserID: r.User, User: r.UserName,
			TokenID: r.Token, Token: r.TokenName, LoginID: r.Session,
			Protocol: r.Protocol, Remote: r.Remote, Request: r.Request, Trace: r.Trace,
			Version: r.Version, Names: r.Names, Removed: r.Removed,
			TargetID: r.Target, TargetName: r.Called, Count: r.Count, Detail: r.Detail,
		}
	}
	return c.respondList(out)
}

// auditQuery reads the parameters of a request for the audit log. Unlike
// InfluxDB's lists, it refuses parameters that it doesn't know: without a condition
// it would show more than was asked for.
func (c *call) auditQuery() (q keep.AuditQuery, wait time.Duration, err error) {
	given, err := c.query()
	if err != nil {
		return q, 0, err
	}
	q.Limit = defaultAuditPage
	for _, name := range slices.Sorted(maps.Keys(given)) {
		text := given.Get(name)
		if text == "" || len(given[name]) > 1 {
			return q, 0, invalid("a parameter is empty or given twice")
		}
		if err := setAudit(&q, &wait, name, text); err != nil {
			return q, 0, err
		}
	}
	if q.After == 0 {
		wait = 0 // there is nothing to wait for
	}
	return q, wait, nil
}

// Sizes of a page of the audit log.
const (
	defaultAuditPage = 100
	maxAuditPage     = 1000
)

// setAudit sets the condition that a parameter describes.
func setAudit(q *keep.AuditQuery, wait *time.Duration, name, text string) (err error) {
	switch name {
	case "orgID":
		q.Organization, err = parseID(text, "orgID: ")
	case "org":
		q.OrganizationName = text
	case "userID":
		q.User, err = parseID(text, "userID: ")
	case "user":
		q.UserName = text
	case "tokenID":
		q.Token, err = parseID(text, "tokenID: ")
	case "secret":
		q.Secret = text
	case "action":
		q.Action = text
	case "outcome":
		if q.Outcome = text; text != "allowed" && text != "refused" && text != "failed" {
			err = invalid("outcome must be allowed, refused or failed")
		}
	case "protocol":
		q.Protocol = text
	case "since":
		q.Since, err = auditTime(name, text)
	case "until":
		q.Until, err = auditTime(name, text)
	case "before":
		q.Before, err = position(name, text)
	case "after":
		q.After, err = position(name, text)
	case "limit":
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > maxAuditPage {
			err = invalid(fmt.Sprintf("limit must be between 1 and %d", maxAuditPage))
		}
	case "wait":
		*wait, err = parseWait(text)
	default:
		err = invalid("unknown parameter")
	}
	return err
}

func auditTime(name, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, invalid(name + " must be a time such as 2026-01-31T12:00:00Z")
	}
	return t, nil
}

func position(name, text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, invalid(name + " must be a record's number")
	}
	return n, nil
}
