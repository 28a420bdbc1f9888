package influxv2

import (
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// selfAnswer describes the caller. InfluxDB has only /me, which says nothing
// about the token.
type selfAnswer struct {
	UserID      keep.ID            `json:"userID"`
	User        string             `json:"user,omitempty"`
	TokenID     keep.ID            `json:"tokenID,omitzero"`
	Description string             `json:"description,omitempty"`
	OrgID       keep.ID            `json:"orgID,omitzero"`
	Org         string             `json:"org,omitempty"`
	Operator    bool               `json:"operator"`
	Permissions []permissionAnswer `json:"permissions"`
	Names       []string           `json:"names,omitempty"`
	ExpiresAt   time.Time          `json:"expiresAt,omitzero"`
}

func (c *call) self() error {
	s, err := c.keep.Self(c.ctx(), c.caller)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, selfAnswer{
		UserID: s.User, User: s.UserName, TokenID: s.Token, Description: s.Description, OrgID: s.Org, Org: s.OrgName,
		Operator: s.Operator, Permissions: plainPermissions(s.Permissions), Names: s.Names, ExpiresAt: s.Expires.UTC(),
	})
}

// revokeSelf revokes the caller's token. A session ends by signing out.
func (c *call) revokeSelf() error {
	if err := c.keep.RevokeSelf(c.ctx(), c.caller); err != nil {
		return err
	}
	return c.noContent()
}
