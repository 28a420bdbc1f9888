package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// AuditQuery selects records of the audit log. Zero fields select all.
type AuditQuery struct {
	OrgID    string
	Org      string // the organization's name
	UserID   string
	User     string // the user's name
	TokenID  string
	Secret   string // a secret's name
	Action   string // also a prefix that ends with a star, as in "secrets.*"
	Outcome  string // "allowed", "refused" or "failed"
	Protocol string
	Since    time.Time
	Until    time.Time // exclusive
	// Before and After are numbers of records, both exclusive: the Next of the
	// previous page, and the Last of an earlier one.
	Before, After uint64
	// Limit is the most records of a page; default 100, at most 1000.
	Limit int
	// Wait, with After, is how long to wait for a record, up to five minutes.
	Wait time.Duration
}

// AuditPage is a part of the audit log.
type AuditPage struct {
	Records []AuditRecord `json:"records"` // newest first
	// Next is the Before of the next page, 0 after the last page. A page with few records
	// or none isn't necessarily the last.
	Next uint64 `json:"next,omitempty"`
	// Last is the number of the log's last record.
	Last uint64 `json:"last"`
	// Checkpoint is the last record up to which the store vouches for the log,
	// for operators.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Damage says what is wrong with the lines that were read, for operators.
	Damage []string `json:"damage,omitempty"`
}

// AuditRecord is a record of the audit log. Names are empty if they are unknown,
// for example those of objects that were deleted long ago.
type AuditRecord struct {
	Number   uint64    `json:"number"`
	Time     time.Time `json:"time"`
	Action   string    `json:"action"`
	Outcome  string    `json:"outcome"`
	Code     string    `json:"code,omitempty"`
	OrgID    string    `json:"orgID,omitempty"`
	Org      string    `json:"org,omitempty"`
	UserID   string    `json:"userID,omitempty"`
	User     string    `json:"user,omitempty"`
	TokenID  string    `json:"tokenID,omitempty"`
	Token    string    `json:"token,omitempty"`   // its description
	LoginID  string    `json:"loginID,omitempty"` // the login token that represented the token
	Protocol string    `json:"protocol,omitempty"`
	Remote   string    `json:"remote,omitempty"`
	Request  string    `json:"request,omitempty"`
	Trace    string    `json:"trace,omitempty"`
	// Version is that of the organization's secrets, created or read.
	Version uint64   `json:"version,omitempty"`
	Names   []string `json:"names,omitempty"`   // secrets read or set
	Removed []string `json:"removed,omitempty"` // secrets deleted
	// TargetID and Target are any other object's, such as a user's.
	TargetID string `json:"targetID,omitempty"`
	Target   string `json:"target,omitempty"`
	Count    uint64 `json:"count,omitempty"` // of equal accesses, if more than one
	Detail   string `json:"detail,omitempty"`
}

// AuditLog returns a page of the audit log. An operator reads all records, and an
// organization's owner those of the organization.
func (c *Client) AuditLog(ctx context.Context, q AuditQuery) (AuditPage, error) {
	return get[AuditPage](ctx, c, q.values(), "fluxkeep", "audit")
}

func (q *AuditQuery) values() url.Values {
	v := url.Values{}
	set := func(name, text string) {
		if text != "" {
			v.Set(name, text)
		}
	}
	number := func(name string, n uint64) {
		if n != 0 {
			v.Set(name, strconv.FormatUint(n, 10))
		}
	}
	instant := func(name string, t time.Time) {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	set("orgID", q.OrgID)
	set("org", q.Org)
	set("userID", q.UserID)
	set("user", q.User)
	set("tokenID", q.TokenID)
	set("secret", q.Secret)
	set("action", q.Action)
	set("outcome", q.Outcome)
	set("protocol", q.Protocol)
	instant("since", q.Since)
	instant("until", q.Until)
	number("before", q.Before)
	number("after", q.After)
	number("limit", uint64(max(q.Limit, 0)))
	if q.Wait > 0 {
		v.Set("wait", q.Wait.String())
	}
	return v
}
