package influxv2

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type readersBody struct {
	Secrets []secretReadersBody `json:"secrets"`
}

type secretReadersBody struct {
	Name    string       `json:"name"`
	Readers []readerBody `json:"readers"` // the last one first
}

// readerBody is a token's or a user's last read of a secret. A token and a user that
// the caller may not see have no ID.
type readerBody struct {
	TokenID     keep.ID       `json:"tokenID,omitzero"`
	Description string        `json:"description,omitempty"`
	UserID      keep.ID       `json:"userID,omitzero"`
	User        string        `json:"user,omitempty"`
	ReadAt      time.Time     `json:"readAt"`
	Protocol    keep.Protocol `json:"protocol"`
	Version     uint64        `json:"version,omitempty"`
	Outdated    bool          `json:"outdated,omitempty"`
}

// readers sends who read the secrets that the parameter name selects. Without it, it
// sends the last reader of each secret.
func (c *call) readers() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	q, err := c.query()
	if err != nil {
		return c.invalidRequest(org, err)
	}
	all, err := c.keep.Readers(c.ctx(), c.caller, org, q["name"])
	if err != nil {
		return hideOrganization(err)
	}
	out := readersBody{make([]secretReadersBody, 0, len(all))}
	for _, s := range all {
		one := secretReadersBody{s.Name, make([]readerBody, 0, len(s.Readers))}
		for _, r := range s.Readers {
			one.Readers = append(one.Readers, readerBody{
				TokenID: r.Token, Description: r.Description, UserID: r.User, User: r.UserName,
				ReadAt: r.Time, Protocol: r.Protocol, Version: r.Version, Outdated: r.Outdated,
			})
		}
		out.Secrets = append(out.Secrets, one)
	}
	return c.respondList(out)
}
