package keep

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Organization owns secrets.
type Organization struct {
	ID          ID
	Name        string
	Description string
	Created     time.Time
	Updated     time.Time
}

// OrganizationFilter chooses organizations; what is zero does not choose.
type OrganizationFilter struct {
	ID   ID
	Name string
	User ID // those that the user is a member or owner of
	Page Page
}

func (r *orgRecord) organization(id ID) Organization {
	return Organization{ID: id, Name: r.Name, Description: r.Description, Created: r.Created, Updated: r.Updated}
}

// org returns the organization's record, or ErrOrganizationNotFound.
func (v *view) org(id ID) (*orgRecord, error) {
	k := record.Key(record.TableOrg, id)
	r, err := record.Load[orgRecord](v.Reader, k)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrOrganizationNotFound
	}
	entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableOrgName, v.Hash("organization", uniqueName(r.Name))))
	if err != nil {
		return nil, err
	}
	if entry == nil || entry.ID != id {
		return nil, record.Damaged(k, record.ErrNoEntry)
	}
	return r, record.CheckRevisions(k, r.Revision, entry.Revision)
}

// orgByName returns the organization that a reference by name means, 0 for
// none. A name that looks like an ID only ever means the organization with that
// ID: otherwise one organization could take the name of another's ID, and with
// it what is meant for the other.
func (v *view) orgByName(name string) (ID, error) {
	if !acl.LooksLikeID(uniqueName(name)) {
		return v.orgNamed(name)
	}
	id, err := acl.ParseID(uniqueName(name))
	if err != nil {
		return 0, nil // the zero ID
	}
	if _, err = v.org(id); errors.Is(err, ErrOrganizationNotFound) {
		return 0, nil
	}
	return id, err
}

// orgNamed returns the organization that has a name, 0 for none.
func (v *view) orgNamed(name string) (ID, error) {
	entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableOrgName, v.Hash("organization", uniqueName(name))))
	if err != nil || entry == nil {
		return 0, err
	}
	return entry.ID, nil
}

// readableOrg finds the organization if it exists and the caller may read
// it, and says ErrOrganizationNotFound in every other case.
func (v *view) readableOrg(c *Caller, id ID) (*orgRecord, error) {
	if c.mayOrg(acl.Read, id) != nil {
		return nil, ErrOrganizationNotFound
	}
	return v.org(id)
}

func (t *tx) putOrg(id ID, old, r *orgRecord) error {
	t.changeDirectory()
	entry := record.HashKey(record.TableOrgName, t.Hash("organization", uniqueName(r.Name)))
	if old == nil || uniqueName(old.Name) != uniqueName(r.Name) {
		if has, err := t.orgNamed(r.Name); err != nil {
			return err
		} else if has != 0 {
			return errorf(CodeConflict, "organization with name %s already exists", r.Name)
		}
	}
	if old != nil {
		r.Revision = old.Revision + 1
		if uniqueName(old.Name) != uniqueName(r.Name) {
			if err := t.w.Delete(record.HashKey(record.TableOrgName, t.Hash("organization", uniqueName(old.Name)))); err != nil {
				return err
			}
		}
	}
	if err := t.w.PutJSON(entry, entryRecord{Revision: r.Revision, ID: id}); err != nil {
		return err
	}
	return t.w.PutJSON(record.Key(record.TableOrg, id), r)
}

func (t *tx) deleteOrg(id ID, r *orgRecord) error {
	t.changeDirectory()
	if err := t.w.Delete(record.HashKey(record.TableOrgName, t.Hash("organization", uniqueName(r.Name)))); err != nil {
		return err
	}
	return t.w.Delete(record.Key(record.TableOrg, id))
}

// uniqueName is what no two organizations share: as in InfluxDB, spaces around
// a name are kept and make no difference.
func uniqueName(name string) string { return strings.TrimSpace(name) }

// unknownOrgName has InfluxDB's words, which put quotes around a name and
// escape nothing in it.
func unknownOrgName(name string) error {
	return errorf(CodeNotFound, "organization name \"%s\" not found", name)
}

func checkOrganizationName(name string) error {
	if uniqueName(name) == "" {
		return errorf(CodeInvalid, "org name is empty")
	}
	return validName("organization name", name)
}

// checkNewOrganizationName also refuses a name that can't be used in a path: one
// that HTTP clients change, and one that looks like an ID, unless it is the
// organization's own, which an adopted organization is named after.
func checkNewOrganizationName(id ID, name string) error {
	if unique := uniqueName(name); acl.LooksLikeID(unique) && !strings.EqualFold(unique, id.String()) {
		return errorf(CodeInvalid, "organization name must not have the form of an ID, which is 16 hexadecimal digits")
	}
	if err := checkOrganizationName(name); err != nil {
		return err
	}
	return newName("organization name", name)
}

// CheckOrganization returns nil if the caller may read the organization, and
// ErrOrganizationNotFound if not or if there is none. Only refusals are
// audited: what follows a success has a record of its own.
func (k *Keep) CheckOrganization(ctx context.Context, c Caller, id ID) error {
	if err := k.audible(&c, "organizations.read", id); err != nil {
		return err
	}
	err := k.peek(ctx, func(v *view) error {
		_, err := v.readableOrg(&c, id)
		return err
	})
	if err == nil {
		return nil
	}
	return k.finish(c.record("organizations.read", id), k.now(), domain(err))
}

// Organization returns one organization. Needs read on it.
func (k *Keep) Organization(ctx context.Context, c Caller, id ID) (Organization, error) {
	var out Organization
	err := k.read(ctx, c.record("organizations.read", id), func(v *view) error {
		if err := c.mayOrg(acl.Read, id); err != nil {
			return err
		}
		r, err := v.org(id)
		if err != nil {
			return err
		}
		out = r.organization(id)
		return nil
	})
	return out, err
}

// Organizations returns the organizations that the filter chooses and the
// caller may read. A caller who may not read all of them gets an empty list
// for a name or an ID, whether it exists or not.
func (k *Keep) Organizations(ctx context.Context, c Caller, f OrganizationFilter) ([]Organization, error) {
	var out []Organization
	err := k.read(ctx, c.record("organizations.list", f.ID), func(v *view) error {
		out = nil
		switch {
		case f.ID != 0:
			return v.addOrg(&c, f.ID, ErrOrganizationNotFound, &out)
		case f.Name != "":
			id, err := v.orgByName(f.Name)
			if err != nil {
				return err
			}
			return v.addOrg(&c, id, unknownOrgName(f.Name), &out)
		}
		ids, err := v.orgIDs(&c, f.User)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if c.mayOrg(acl.Read, id) != nil {
				continue
			}
			r, err := v.org(id)
			if err != nil {
				return err
			}
			out = append(out, r.organization(id))
		}
		out = cut(f.Page, out, func(o Organization) ID { return o.ID })
		return nil
	})
	return out, err
}

// addOrg appends the organization if it is there and readable. missing is
// returned only to those who may read all.
func (v *view) addOrg(c *Caller, id ID, missing error, out *[]Organization) error {
	if id == 0 || c.mayOrg(acl.Read, id) != nil {
		if id == 0 && c.readsAll(acl.Orgs) {
			return missing
		}
		return nil
	}
	r, err := v.org(id)
	if errors.Is(err, ErrOrganizationNotFound) {
		return missing
	}
	if err != nil {
		return err
	}
	*out = append(*out, r.organization(id))
	return nil
}

// orgIDs lists organizations: those of a user, or all; a caller who may not
// read all gets the own ones.
func (v *view) orgIDs(c *Caller, user ID) ([]ID, error) {
	if user == 0 && !c.readsAll(acl.Orgs) {
		user = c.User
	}
	var ids []ID
	if user != 0 {
		err := v.memberships(user, func(org ID, _ Role) error {
			ids = append(ids, org)
			return nil
		})
		return ids, err
	}
	return ids, v.ScanIDs(record.TableOrg, func(id ID) error {
		ids = append(ids, id)
		return nil
	})
}

// ResolveOrganization finds an organization by its ID or its name. What looks
// like an ID is one, and is returned whether the organization exists or not: the
// next call finds out. An unknown name is ErrOrganizationNotFound to a caller
// who may read all secrets, and a refusal to everybody else.
func (k *Keep) ResolveOrganization(ctx context.Context, c Caller, ref string) (ID, error) {
	if id, err := acl.ParseID(ref); err == nil {
		return id, nil
	}
	epoch := k.callers.epoch()
	if known, _ := k.callers.refs.Get(ref); epoch != 0 && known.epoch == epoch {
		return known.id, nil
	}
	return k.resolve(ctx, c, ref, epoch)
}

func (k *Keep) resolve(ctx context.Context, c Caller, ref string, epoch uint64) (ID, error) {
	var out ID
	err := k.peek(ctx, func(v *view) error {
		var err error
		if out, err = v.orgByName(ref); err != nil {
			return err
		}
		if out == 0 {
			if c.readsAll(acl.Secrets) {
				return ErrOrganizationNotFound
			}
			return errorf(CodeUnauthorized, "read:secrets is unauthorized")
		}
		return nil
	})
	if err != nil {
		rec := c.record("organizations.resolve", 0)
		return 0, k.finish(rec, k.now(), domain(err))
	}
	if k.records.Exclusive() && epoch != 0 {
		k.callers.refs.Put(strings.Clone(ref), seenRef{out, epoch})
	}
	return out, nil
}

// CreateOrganization makes an organization. Needs write on all of them. A
// user who makes one is its owner.
func (k *Keep) CreateOrganization(ctx context.Context, c Caller, name, description string) (Organization, error) {
	var out Organization
	rec := c.record("organizations.create", 0)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := c.mayChange(acl.Resource{Type: acl.Orgs}); err != nil {
			return err
		}
		var err error
		if out, err = t.createOrg(acl.NewID(), name, description); err != nil {
			return err
		}
		rec.Organization = out.ID.String()
		if c.User != 0 {
			return t.putMember(out.ID, c.User, Owner)
		}
		return nil
	})
	return out, err
}

func (t *tx) createOrg(id ID, name, description string) (Organization, error) {
	if err := checkNewOrganizationName(id, name); err != nil {
		return Organization{}, err
	}
	r := &orgRecord{Name: name, Description: description, Created: t.Now, Updated: t.Now}
	return r.organization(id), t.putOrg(id, nil, r)
}

// OrganizationUpdate changes what is not nil.
type OrganizationUpdate struct {
	Name        *string
	Description *string
}

// UpdateOrganization changes an organization. Needs write on it.
func (k *Keep) UpdateOrganization(ctx context.Context, c Caller, id ID, u OrganizationUpdate) (Organization, error) {
	var out Organization
	err := k.update(ctx, c.record("organizations.update", id), func(t *tx) error {
		if err := c.mayChangeOrg(id); err != nil {
			return err
		}
		old, err := t.org(id)
		if err != nil {
			return err
		}
		r := *old
		r.Updated = t.Now
		if u.Description != nil {
			r.Description = *u.Description
		}
		if u.Name != nil && *u.Name != old.Name { // an imported name may stay
			if err := checkNewOrganizationName(id, *u.Name); err != nil {
				return err
			}
			r.Name = *u.Name
		}
		out = r.organization(id)
		return t.putOrg(id, old, &r)
	})
	return out, err
}

// DeleteOrganization removes an organization with its members and secrets,
// all versions of them. Needs write on it.
func (k *Keep) DeleteOrganization(ctx context.Context, c Caller, id ID) error {
	return k.update(ctx, c.record("organizations.delete", id), func(t *tx) error {
		if err := c.mayChangeOrg(id); err != nil {
			return err
		}
		r, err := t.org(id)
		if err != nil {
			return err
		}
		if err := t.deleteOrg(id, r); err != nil {
			return err
		}
		if err := t.markSetUp(); err != nil {
			return err
		}
		if err := t.deleteMembers(id); err != nil {
			return err
		}
		return t.k.maps.Delete(t.w, id)
	})
}
