package directory

import "github.com/fluxkeep/fluxkeep/internal/record"

// Role is what a user is in an organization.
type Role string

const (
	Member Role = "member" // reads
	Owner  Role = "owner"  // reads and writes
)

// Role returns what the user is in the organization, "" for nothing.
func (d Reader) Role(org, user ID) (Role, error) {
	r, err := record.Load[memberRecord](d.r, record.Key(record.TableMember, org, user))
	if err != nil || r == nil {
		return "", err
	}
	return r.Role, nil
}

// EachMember calls fn with each member of an organization.
func (d Reader) EachMember(org ID, fn func(user ID, role Role) error) error {
	return d.members(record.TableMember, org, fn)
}

// EachMembership calls fn with each organization of a user.
func (d Reader) EachMembership(user ID, fn func(org ID, role Role) error) error {
	return d.members(record.TableMemberOf, user, fn)
}

// members reads one of the two tables of memberships and checks each record
// against the one in the other table. It leaves out damaged memberships, and those
// for which fn returns damage.
func (d Reader) members(table record.Table, first ID, fn func(second ID, role Role) error) error {
	other := record.TableMemberOf
	if table == record.TableMemberOf {
		other = record.TableMember
	}
	return d.r.ScanPrefix(record.Key(table, first), func(k, sealed []byte) (bool, error) {
		second, err := record.IDAt(k, 9)
		if err != nil {
			return false, err
		}
		role, err := d.checkedRole(k, sealed, record.Key(other, second, first))
		if err == nil {
			err = fn(second, role)
		}
		return true, d.SkipDamaged(err)
	})
}

// checkedRole returns the role in the membership at k, if the record in the other
// table is from the same change.
func (d Reader) checkedRole(k, sealed, mirrorKey []byte) (Role, error) {
	r, err := record.Decode[memberRecord](d.r, k, sealed)
	if err != nil {
		return "", err
	}
	mirror, err := record.Load[memberRecord](d.r, mirrorKey)
	if err != nil {
		return "", err
	}
	if mirror == nil {
		return "", record.Damaged(k, record.ErrNoEntry)
	}
	return r.Role, record.CheckRevisions(k, r.Revision, mirror.Revision)
}

// PutMember makes the user a member or owner, in two records: one for listing
// an organization's members, one for finding a user's organizations.
func (d Writer) PutMember(org, user ID, role Role) error {
	r := memberRecord{Role: role, Revision: uint64(d.r.Now.UnixNano())}
	if err := d.w.PutJSON(record.Key(record.TableMember, org, user), r); err != nil {
		return err
	}
	return d.w.PutJSON(record.Key(record.TableMemberOf, user, org), r)
}

// DeleteMember ends a membership, if there is one.
func (d Writer) DeleteMember(org, user ID) error {
	if err := d.w.Delete(record.Key(record.TableMember, org, user)); err != nil {
		return err
	}
	return d.w.Delete(record.Key(record.TableMemberOf, user, org))
}

// deleteMembers ends all memberships of an organization or, by TableMemberOf,
// of a user.
func (d Writer) deleteMembers(table record.Table, first ID) error {
	var seconds []ID // collected first: a range must not change while it is scanned
	err := d.r.ScanPrefix(record.Key(table, first), func(k, _ []byte) (bool, error) {
		second, err := record.IDAt(k, 9)
		seconds = append(seconds, second)
		return err == nil, err
	})
	for _, second := range seconds {
		org, user := first, second
		if table == record.TableMemberOf {
			org, user = second, first
		}
		if err == nil {
			err = d.DeleteMember(org, user)
		}
	}
	return err
}
