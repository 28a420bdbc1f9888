package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
)

// Role is a user's role in an organization.
type Role = directory.Role

const (
	Member = directory.Member // reads
	Owner  = directory.Owner  // reads and writes
)

// Membership is a user with a role in an organization.
type Membership struct {
	User
	Role Role
}

// Members returns the users with the role, or with any role if it is empty. Needs read
// on the organization.
func (k *Keep) Members(ctx context.Context, c Caller, org ID, role Role) ([]Membership, error) {
	var out []Membership
	err := k.read(ctx, c.record("members.list", org), func(v *view) error {
		out = nil
		if _, err := v.readableOrg(&c, org); err != nil {
			return err
		}
		return v.dir.EachMember(org, func(user ID, has Role) error {
			if role != "" && has != role {
				return nil
			}
			u, err := v.dir.User(user)
			if err != nil {
				return err
			}
			out = append(out, Membership{u, has})
			return v.reserveItem(len(u.Name))
		})
	})
	return out, err
}

// writableMembers checks permission to change an organization's members. The
// permission names the organization twice, as in InfluxDB's refusals.
func (v *view) writableMembers(c *Caller, org ID) error {
	if _, err := v.readableOrg(c, org); err != nil {
		return err
	}
	return c.mayChange(acl.Resource{Type: acl.Orgs, ID: org, OrgID: org})
}

// AddMember gives a user a role. Needs write on the organization, and read on the
// user, who otherwise counts as missing.
func (k *Keep) AddMember(ctx context.Context, c Caller, org, user ID, role Role) (User, error) {
	var out User
	rec := c.record("members.add", org)
	rec.Target, rec.Detail = user.String(), string(role)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := t.writableMembers(&c, org); err != nil {
			return err
		}
		has, err := t.dir.Role(org, user)
		if err != nil {
			return err
		}
		if has != "" {
			return errorf(CodeConflict, "user is already %s of the organization", withArticle(has))
		}
		if c.mayUser(acl.Read, user) != nil {
			return ErrUserNotFound
		}
		if out, err = t.dir.User(user); err != nil {
			return err
		}
		return t.dir.PutMember(org, user, role)
	})
	return out, err
}

func withArticle(r Role) string {
	if r == Owner {
		return "an owner"
	}
	return "a member"
}

// RemoveMember removes a user's role, if there is one. Needs write on the
// organization.
func (k *Keep) RemoveMember(ctx context.Context, c Caller, org, user ID) error {
	rec := c.record("members.remove", org)
	rec.Target = user.String()
	return k.update(revoking(ctx, &c), rec, func(t *tx) error {
		if err := t.writableMembers(&c, org); err != nil {
			return err
		}
		return t.dir.DeleteMember(org, user)
	})
}
