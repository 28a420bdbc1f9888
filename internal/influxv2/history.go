package influxv2

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type versionsBody struct {
	Versions []versionBody `json:"versions"`
}

// versionBody describes a version. Empty fields are omitted.
type versionBody struct {
	Version      uint64        `json:"version"`
	CreatedAt    time.Time     `json:"createdAt"`
	UserID       keep.ID       `json:"userID,omitzero"`
	TokenID      keep.ID       `json:"tokenID,omitzero"`
	Protocol     keep.Protocol `json:"protocol,omitempty"`
	Added        []string      `json:"added,omitempty"`
	Changed      []string      `json:"changed,omitempty"`
	Removed      []string      `json:"removed,omitempty"`
	Count        *int          `json:"count,omitempty"`
	DeletedAt    time.Time     `json:"deletedAt,omitzero"`
	Destroyed    bool          `json:"destroyed,omitempty"`
	Pinned       bool          `json:"pinned,omitempty"`
	RolledBackTo uint64        `json:"rolledBackTo,omitempty"`
	MergedFrom   uint64        `json:"mergedFrom,omitempty"`
}

func (c *call) history() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	versions, err := c.keep.History(c.ctx(), c.caller, org)
	if err != nil {
		return hideOrganization(err)
	}
	out := versionsBody{make([]versionBody, 0, len(versions))}
	for _, v := range versions {
		count := &v.Count
		if v.Count < 0 { // the caller may not know
			count = nil
		}
		out.Versions = append(out.Versions, versionBody{
			Version: v.Number, CreatedAt: v.Created.UTC(), UserID: v.User, TokenID: v.Token, Protocol: v.Protocol,
			Added: v.Added, Changed: v.Changed, Removed: v.Removed, Count: count,
			DeletedAt: v.Deleted.UTC(), Destroyed: v.Destroyed, Pinned: v.Pinned, RolledBackTo: v.From, MergedFrom: v.Merged,
		})
	}
	return c.respondList(out)
}

// rollback goes back to an earlier version, with all secrets or with one.
func (c *call) rollback() error {
	return c.withVersion(func(org keep.ID, body versionRequest) error {
		var w keep.ChangeResult
		var err error
		if body.Name.text != nil {
			w, err = c.keep.RollbackSecret(c.ctx(), c.caller, org, *body.Name.text, body.Version)
		} else {
			w, err = c.keep.Rollback(c.ctx(), c.caller, org, body.Version)
		}
		if err != nil {
			return err
		}
		return c.respondWritten(w)
	})
}

// unpin unpins a version, which the drop guard pinned because the next one
// may have dropped secrets by accident.
func (c *call) unpin() error {
	return c.withVersion(func(org keep.ID, body versionRequest) error {
		if body.Name.text != nil {
			return invalid("one secret can't be unpinned")
		}
		if err := c.keep.Unpin(c.ctx(), c.caller, org, body.Version); err != nil {
			return err
		}
		return c.noContent()
	})
}

// versionRequest names a version and, to roll back one secret, the secret.
type versionRequest struct {
	Version uint64       `json:"version"`
	Name    optionalName `json:"name"`
}

// optionalName is a name that may be left out. null is refused: it would mean all
// secrets.
type optionalName struct{ text *string }

func (n *optionalName) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return errors.New("name must not be null")
	}
	return json.Unmarshal(b, &n.text)
}

// withVersion reads a body that names a version and calls do.
func (c *call) withVersion(do func(org keep.ID, body versionRequest) error) error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	var body versionRequest
	// A misspelled name would mean all secrets.
	if err := c.decodeKnown(&body, badJSON); err != nil {
		return c.invalidRequest(org, err)
	}
	if body.Version == 0 {
		return c.invalidRequest(org, invalid("version is missing"))
	}
	return hideOrganization(do(org, body))
}
