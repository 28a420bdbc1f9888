package keep

import (
	"context"
	"errors"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Organization owns secrets.
type Organization = directory.Organization

// OrganizationFilter selects organizations; zero fields are ignored.
type OrganizationFilter struct {
	ID   ID
	Name string
	User ID // those that the user is a member or owner of
	Page Page
}

// readableOrg returns an organization, or ErrOrganizationNotFound if it doesn't
// exist or the caller may not read it.
func (v *view) readableOrg(c *Caller, id ID) (Organization, error) {
	if c.mayOrg(acl.Read, id) != nil {
		return Organization{}, ErrOrganizationNotFound
	}
	return v.dir.Organization(id)
}

// unknownOrgName returns InfluxDB's error, which quotes the name without escaping
// it.
func unknownOrgName(name string) error {
	return errorf(CodeNotFound, "organization name \"%s\" not found", name)
}

func checkOrganizationName(name string) error {
	if directory.UniqueName(name) == "" {
		return errorf(CodeInvalid, "org name is empty")
	}
	return validName("organization name", name)
}

// checkNewOrganizationName also refuses a name that can't be used in a path: one
// that HTTP clients change or that is a folder to Vault's, and one that looks like an
// ID. The organization's own ID is allowed: adopted organizations are named after it.
func checkNewOrganizationName(id ID, name string) error {
	if unique := directory.UniqueName(name); acl.LooksLikeID(unique) && !strings.EqualFold(unique, id.String()) {
		return errorf(CodeInvalid, "organization name must not have the form of an ID, which is 16 hexadecimal digits")
	}
	if err := checkOrganizationName(name); err != nil {
		return err
	}
	if strings.HasSuffix(directory.UniqueName(name), "/") {
		return errorf(CodeInvalid, "organization name must not end with a slash")
	}
	return newName("organization name", name)
}

// CheckOrganization returns nil if the caller may read the organization, and
// ErrOrganizationNotFound otherwise. Only refusals are audited: the action that
// follows has its own record.
func (k *Keep) CheckOrganization(ctx context.Context, c Caller, id ID) error {
	if err := k.requireAuditLog(&c, "organizations.read", id); err != nil {
		return err
	}
	err := k.readUnaudited(ctx, func(v *view) error {
		_, err := v.readableOrg(&c, id)
		return err
	})
	if err == nil {
		return nil
	}
	return k.recordOutcome(c.record("organizations.read", id), k.now(), domain(err))
}

// Organization returns one organization. Needs read on it.
func (k *Keep) Organization(ctx context.Context, c Caller, id ID) (Organization, error) {
	var out Organization
	err := k.read(ctx, c.record("organizations.read", id), func(v *view) error {
		if err := c.mayOrg(acl.Read, id); err != nil {
			return err
		}
		var err error
		out, err = v.dir.Organization(id)
		return err
	})
	return out, err
}

// Organizations returns the organizations that match the filter and that the
// caller may read. Without permission to read all, the result for an unreadable
// name or ID is empty whether it exists or not.
func (k *Keep) Organizations(ctx context.Context, c Caller, f OrganizationFilter) ([]Organization, error) {
	var out []Organization
	err := k.read(ctx, c.record("organizations.list", f.ID), func(v *view) error {
		out = nil
		switch {
		case f.ID != 0:
			return v.addOrg(&c, f.ID, ErrOrganizationNotFound, &out)
		case f.Name != "":
			id, err := v.dir.FindOrganization(f.Name)
			if err != nil {
				return err
			}
			return v.addOrg(&c, id, unknownOrgName(f.Name), &out)
		}
		all, err := v.organizations(&c, f.User)
		out = cut(f.Page, all, func(o Organization) ID { return o.ID })
		return err
	})
	return out, err
}

// organizations returns the organizations of a user that the caller may read, 0 for all.
func (v *view) organizations(c *Caller, user ID) (out []Organization, err error) {
	ids, err := v.orgIDs(c, user)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if c.mayOrg(acl.Read, id) != nil {
			continue
		}
		o, err := v.dir.Organization(id)
		if err == nil {
			if err := v.reserveItem(len(o.Name) + len(o.Description)); err != nil {
				return nil, err
			}
			out = append(out, o)
		}
		if err := v.dir.SkipDamaged(err); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// addOrg appends the organization if it exists and is readable. Only callers who
// may read all organizations get missing.
func (v *view) addOrg(c *Caller, id ID, missing error, out *[]Organization) error {
	if id == 0 || c.mayOrg(acl.Read, id) != nil {
		if id == 0 && c.mayReadAll(acl.Orgs) {
			return missing
		}
		return nil
	}
	o, err := v.dir.Organization(id)
	if errors.Is(err, ErrOrganizationNotFound) {
		return missing
	}
	if err != nil {
		return err
	}
	*out = append(*out, o)
	return nil
}

// orgIDs lists a user's organizations, or all; a caller who may not read all gets
// its own.
func (v *view) orgIDs(c *Caller, user ID) ([]ID, error) {
	if user == 0 && !c.mayReadAll(acl.Orgs) {
		user = c.User
	}
	var ids []ID
	if user != 0 {
		err := v.dir.EachMembership(user, func(org ID, _ Role) error {
			ids = append(ids, org)
			return nil
		})
		return ids, err
	}
	return ids, v.dir.EachOrganization(func(id ID) error {
		ids = append(ids, id)
		return nil
	})
}

// ResolveOrganization finds an organization by its ID or name. Anything that looks
// like an ID is returned as one without checking that the organization exists: the
// next call does. For an unknown name, a caller who may read all secrets gets
// ErrOrganizationNotFound, others a refusal.
func (k *Keep) ResolveOrganization(ctx context.Context, c Caller, ref string) (ID, error) {
	if id, err := acl.ParseID(ref); err == nil {
		return id, nil
	}
	if ref != directory.UniqueName(ref) {
		return k.resolve(ctx, c, "") // names are compared without spaces around them, paths are not
	}
	if id, ok := k.directory.KnownOrganization(ref); ok {
		return id, nil
	}
	return k.resolve(ctx, c, ref)
}

func (k *Keep) resolve(ctx context.Context, c Caller, ref string) (ID, error) {
	var out ID
	err := k.readUnaudited(ctx, func(v *view) error {
		var err error
		if out, err = v.dir.FindOrganization(ref); err != nil {
			return err
		}
		if out == 0 {
			if c.mayReadAll(acl.Secrets) {
				return ErrOrganizationNotFound
			}
			return errorf(CodeUnauthorized, "read:secrets is unauthorized")
		}
		return nil
	})
	if err != nil {
		rec := c.record("organizations.resolve", 0)
		return 0, k.recordOutcome(rec, k.now(), domain(err))
	}
	return out, nil
}

// CreateOrganization creates an organization, owned by the caller's user. Needs
// write on all organizations.
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
		if err := t.k.setCalled(rec, out.Name); err != nil {
			return err
		}
		if c.User != 0 {
			return t.dir.PutMember(out.ID, c.User, Owner)
		}
		return nil
	})
	return out, err
}

func (t *tx) createOrg(id ID, name, description string) (Organization, error) {
	if err := checkNewOrganizationName(id, name); err != nil {
		return Organization{}, err
	}
	o := Organization{ID: id, Name: name, Description: description, Created: t.Now, Updated: t.Now}
	return o, t.dir.PutOrganization(o)
}

// OrganizationUpdate changes the fields that aren't nil.
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
		o, err := t.dir.Organization(id)
		if err != nil {
			return err
		}
		o.Updated = t.Now
		if u.Description != nil {
			o.Description = *u.Description
		}
		if u.Name != nil && *u.Name != o.Name { // an imported name may stay
			if err := checkNewOrganizationName(id, *u.Name); err != nil {
				return err
			}
			o.Name = *u.Name
		}
		out = o
		return t.dir.PutOrganization(o)
	})
	return out, err
}

// DeleteOrganization removes an organization with its members and all versions of
// its secrets. Needs write on it.
func (k *Keep) DeleteOrganization(ctx context.Context, c Caller, id ID) error {
	rec := c.record("organizations.delete", id)
	return k.update(removing(ctx), rec, func(t *tx) error {
		if err := c.mayChangeOrg(id); err != nil {
			return err
		}
		o, err := t.dir.Organization(id)
		if err != nil {
			return err
		}
		if err := t.k.setCalled(rec, o.Name); err != nil {
			return err
		}
		if err := t.dir.DeleteOrganization(id); err != nil {
			return err
		}
		if err := t.w.Delete(record.Key(record.TableActivity, id)); err != nil {
			return err
		}
		return t.k.maps.Delete(t.w, id)
	})
}
