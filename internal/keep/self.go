package keep

import (
	"context"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// Self describes a caller to itself.
type Self struct {
	User        ID
	UserName    string // "" if the caller may not read the user
	Token       ID     // 0 for a session
	Description string // of the token
	Org         ID     // the token's organization, 0 for a session
	OrgName     string // "" if the caller may not read the organization
	Operator    bool
	Permissions acl.Set
	Names       []string  // name patterns, for a token limited to some names
	Expires     time.Time // zero: never
}

// Self returns what the server knows about the caller's token or session. Every
// active caller may ask.
func (k *Keep) Self(ctx context.Context, c Caller) (Self, error) {
	out := Self{User: c.User, Token: c.Token, Operator: c.Operator(), Permissions: c.Permissions(), Names: c.names, Expires: c.expires}
	err := k.read(ctx, c.record("self.read", 0), func(v *view) error {
		if c.inactive {
			return ErrTokenInactive
		}
		if c.Token != 0 {
			t, err := v.dir.Token(c.Token)
			if err != nil {
				return err
			}
			out.Org, out.Description, out.Expires = t.Org, t.Description, t.Expires
		}
		if c.mayUser(acl.Read, c.User) == nil {
			u, err := v.dir.User(c.User)
			if err != nil {
				return err
			}
			out.UserName = u.Name
		}
		if out.Org != 0 && c.mayOrg(acl.Read, out.Org) == nil {
			o, err := v.dir.Organization(out.Org)
			if err != nil && CodeOf(err) != CodeNotFound { // a token can outlive its organization
				return err
			}
			out.OrgName = o.Name
		}
		return nil
	})
	return out, err
}
