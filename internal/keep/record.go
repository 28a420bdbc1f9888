package keep

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Each object of the directory stands in two records, the object and the
// entry by which it is found (by name, by hash, by user), and both carry the
// same revision. So one record that is put back from an older copy does not
// fit its twin any more, and is refused.

type orgRecord struct {
	Revision    uint64    `json:"rev"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
}

type userRecord struct {
	Revision uint64    `json:"rev"`
	Name     string    `json:"name"`
	Inactive bool      `json:"inactive,omitempty"`
	Owner    bool      `json:"owner,omitempty"` // owns the instance: made at setup
	Password []byte    `json:"password,omitempty"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

type tokenRecord struct {
	Revision    uint64             `json:"rev"`
	Hash        record.Hash        `json:"hash"`               // of the token; never the token itself
	Imported    []record.Hash      `json:"imported,omitempty"` // of the forms in which InfluxDB would keep it
	Org         ID                 `json:"org"`
	User        ID                 `json:"user"`
	Inactive    bool               `json:"inactive,omitempty"`
	Description string             `json:"description,omitempty"`
	Permissions []permissionRecord `json:"permissions"`
	Created     time.Time          `json:"created"`
	Updated     time.Time          `json:"updated"`
	Expires     time.Time          `json:"expires,omitzero"`
	Names       []string           `json:"names,omitempty"`
	Parent      ID                 `json:"parent,omitzero"` // set on a login token
	// Wall is what the system's clock showed when a login token was made or
	// renewed.
	Wall time.Time `json:"wall,omitzero"`
}

// expired reports whether the token has ended.
func (r *tokenRecord) expired(now time.Time) bool {
	return !r.Expires.IsZero() && !now.Before(r.Expires)
}

type permissionRecord struct {
	Action acl.Action `json:"a"`
	Type   acl.Type   `json:"t"`
	ID     ID         `json:"i,omitzero"`
	Org    ID         `json:"o,omitzero"`
}

type sessionRecord struct {
	Revision uint64    `json:"rev"`
	User     ID        `json:"user"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	// Wall is what the system's clock showed when the session was made or
	// renewed.
	Wall time.Time `json:"wall,omitzero"`
}

type memberRecord struct {
	Revision uint64 `json:"rev"`
	Role     Role   `json:"role"`
}

// entryRecord is what a name, a hash or a user leads to.
type entryRecord struct {
	Revision uint64 `json:"rev"`
	ID       ID     `json:"id,omitzero"`
}

func toRecords(s acl.Set) []permissionRecord {
	out := make([]permissionRecord, len(s))
	for i, p := range s {
		out[i] = permissionRecord{p.Action, p.Resource.Type, p.Resource.ID, p.Resource.OrgID}
	}
	return out
}

func toSet(r []permissionRecord) acl.Set {
	out := make(acl.Set, len(r))
	for i, p := range r {
		out[i] = acl.Permission{Action: p.Action, Resource: acl.Resource{Type: p.Type, ID: p.ID, OrgID: p.Org}}
	}
	return out
}
