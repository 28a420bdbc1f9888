package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Role is what a user is in an organization.
type Role string

const (
	Member Role = "member" // reads
	Owner  Role = "owner"  // reads and writes
)

// putMember makes the user a member or owner, in two records: one to list an
// organization's members by, one to find a user's organizations.
func (t *tx) putMember(org, user ID, role Role) error {
	t.changeDirectory()
	r := memberRecord{Role: role, Revision: uint64(t.Now.UnixNano())}
	if err := t.w.PutJSON(record.Key(record.TableMember, org, user), r); err != nil {
		return err
	}
	return t.w.PutJSON(record.Key(record.TableMemberOf, user, org), r)
}

func (t *tx) deleteMember(org, user ID) error {
	t.changeDirectory()
	if err := t.w.Delete(record.Key(record.TableMember, org, user)); err != nil {
		return err
	}
	return t.w.Delete(record.Key(record.TableMemberOf, user, org))
}

// memberships calls fn for each organization of a user.
func (v *view) memberships(user ID, fn func(org ID, role Role) error) error {
	return v.members(record.TableMemberOf, user, fn)
}

// members walks one of the two tables of memberships and checks each record
// against its twin in the other.
func (v *view) members(table record.Table, first ID, fn func(second ID, role Role) error) error {
	other := record.TableMemberOf
	if table == record.TableMemberOf {
		other = record.TableMember
	}
	return v.ScanPrefix(record.Key(table, first), func(k, sealed []byte) (bool, error) {
		second, err := record.IDAt(k, 9)
		if err != nil {
			return false, err
		}
		r, err := record.Decode[memberRecord](v.Reader, k, sealed)
		if err != nil {
			return false, err
		}
		mirror, err := record.Load[memberRecord](v.Reader, record.Key(other, second, first))
		if err != nil {
			return false, err
		}
		if mirror == nil {
			return false, record.Damaged(k, record.ErrNoEntry)
		}
		if err := record.CheckRevisions(k, r.Revision, mirror.Revision); err != nil {
			return false, err
		}
		return true, fn(second, r.Role)
	})
}

// role returns what the user is in the organization, "" for nothing.
func (v *view) role(org, user ID) (Role, error) {
	r, err := record.Load[memberRecord](v.Reader, record.Key(record.TableMember, org, user))
	if err != nil || r == nil {
		return "", err
	}
	return r.Role, nil
}

func (t *tx) deleteMembers(org ID) error {
	return t.eachMember(record.TableMember, org, func(user ID) error { return t.deleteMember(org, user) })
}

func (t *tx) deleteMemberships(user ID) error {
	return t.eachMember(record.TableMemberOf, user, func(org ID) error { return t.deleteMember(org, user) })
}

// eachMember collects first, since what is scanned must not change.
func (t *tx) eachMember(table record.Table, first ID, fn func(ID) error) error {
	var seconds []ID
	err := t.ScanPrefix(record.Key(table, first), func(k, _ []byte) (bool, error) {
		second, err := record.IDAt(k, 9)
		seconds = append(seconds, second)
		return err == nil, err
	})
	for _, s := range seconds {
		if err == nil {
			err = fn(s)
		}
	}
	return err
}

// Members returns the users who have the role. Needs read on the
// organization.
func (k *Keep) Members(ctx context.Context, c Caller, org ID, role Role) ([]User, error) {
	var out []User
	err := k.read(ctx, c.record("members.list", org), func(v *view) error {
		out = nil
		if _, err := v.readableOrg(&c, org); err != nil {
			return err
		}
		return v.members(record.TableMember, org, func(user ID, has Role) error {
			if has != role {
				return nil
			}
			r, err := v.user(user)
			if err == nil {
				out = append(out, r.user(user))
			}
			return err
		})
	})
	return out, err
}

// writableMembers asks for what changes an organization's members. The
// permission names the organization twice, as InfluxDB's refusals do.
func (v *view) writableMembers(c *Caller, org ID) error {
	if _, err := v.readableOrg(c, org); err != nil {
		return err
	}
	return c.mayChange(acl.Resource{Type: acl.Orgs, ID: org, OrgID: org})
}

// AddMember gives a user a role. Needs write on the organization, and read on the
// user: without that, there is no such user.
func (k *Keep) AddMember(ctx context.Context, c Caller, org, user ID, role Role) (User, error) {
	var out User
	rec := c.record("members.add", org)
	rec.Target, rec.Detail = user.String(), string(role)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := t.writableMembers(&c, org); err != nil {
			return err
		}
		has, err := t.role(org, user)
		if err != nil {
			return err
		}
		if has != "" {
			return errorf(CodeConflict, "user is already %s of the organization", withArticle(has))
		}
		if c.mayUser(acl.Read, user) != nil {
			return ErrUserNotFound
		}
		r, err := t.user(user)
		if err != nil {
			return err
		}
		out = r.user(user)
		return t.putMember(org, user, role)
	})
	return out, err
}

func withArticle(r Role) string {
	if r == Owner {
		return "an owner"
	}
	return "a member"
}

// RemoveMember takes a user's role away; it is no error when there was none.
// Needs write on the organization.
func (k *Keep) RemoveMember(ctx context.Context, c Caller, org, user ID) error {
	rec := c.record("members.remove", org)
	rec.Target = user.String()
	return k.update(ctx, rec, func(t *tx) error {
		if err := t.writableMembers(&c, org); err != nil {
			return err
		}
		return t.deleteMember(org, user)
	})
}
