package influxv2

import (
	"net/url"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type changesBody struct {
	Changes []changeBody `json:"changes"`
	Total   int          `json:"total"`
}

// changeBody describes a change of one secret. Empty fields are omitted.
type changeBody struct {
	Name        string        `json:"name"`
	Version     uint64        `json:"version"`
	ChangedAt   time.Time     `json:"changedAt,omitzero"`
	UserID      keep.ID       `json:"userID,omitzero"`
	User        string        `json:"user,omitempty"`
	TokenID     keep.ID       `json:"tokenID,omitzero"`
	Description string        `json:"description,omitempty"`
	Protocol    keep.Protocol `json:"protocol,omitempty"`
	Removed     bool          `json:"removed,omitempty"`
	Hidden      bool          `json:"hidden,omitempty"`
}

// secretChanges sends the last change of each secret or, with the parameter name,
// the last changes of one, newest first.
func (c *call) secretChanges() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	q, err := c.query()
	if err != nil {
		return c.invalidRequest(org, err)
	}
	var changes []keep.SecretChange
	var total int
	if q.Has("name") {
		changes, err = c.keep.SecretHistory(c.ctx(), c.caller, org, q.Get("name"))
		total = len(changes)
	} else {
		f, ferr := secretFilter(q)
		if ferr != nil {
			return c.invalidRequest(org, ferr)
		}
		changes, total, err = c.keep.SecretChanges(c.ctx(), c.caller, org, f)
	}
	if err != nil {
		return hideOrganization(err)
	}
	out := changesBody{make([]changeBody, len(changes)), total}
	for i, ch := range changes {
		a := ch.Author
		out.Changes[i] = changeBody{
			Name: ch.Name, Version: ch.Version, ChangedAt: ch.Time, UserID: a.User, User: ch.UserName,
			TokenID: a.Token, Description: ch.Description, Protocol: a.Protocol, Removed: ch.Removed, Hidden: ch.Hidden,
		}
	}
	return c.respondList(out)
}

func secretFilter(q url.Values) (f keep.SecretFilter, err error) {
	if f.Page, err = pageUpTo(maxChanges, q); err != nil {
		return f, err
	}
	f.Pattern = q.Get("filter")
	switch q.Get("sort") {
	case "", "name":
	case "changed":
		f.ByChange = true
	default:
		return f, invalid("sort must be name or changed")
	}
	return f, nil
}
