package keep

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// mayCreate checks that the caller has everything that the new token grants.
func (v *view) mayCreate(c *Caller, n NewToken) error {
	if err := c.may(acl.Write, acl.Resource{Type: acl.Authorizations, OrgID: n.Org}); err != nil {
		return err
	}
	if err := c.mayUser(acl.Write, n.User); err != nil {
		return err
	}
	for _, p := range n.Permissions {
		if err := v.mayGrant(c, p); err != nil {
			return err
		}
	}
	if !c.containsNames(n.Names) {
		return errorf(CodeForbidden, "a token for some names can't make one for other names")
	}
	if !c.containsTime(n.Expires) {
		return errorf(CodeForbidden, "a token that expires can't make one that lives longer")
	}
	return nil
}

// mayGrant checks that the caller has a permission that a new token gets. Unless
// the caller has it on all resources of the type, a permission with an ID is
// checked against the stored resource. A missing resource and one of another owner
// get the same answer.
func (v *view) mayGrant(c *Caller, p acl.Permission) error {
	if err := c.authorize(p); err != nil {
		return errorf(CodeForbidden, "permission %s is not allowed: %s", p, err)
	}
	if p.Resource.Type == acl.Instance {
		return errorf(CodeForbidden, "a token can't have the instance permission")
	}
	if c.may(p.Action, acl.Resource{Type: p.Resource.Type}) == nil {
		return nil // as in InfluxDB, whether the resource exists or not
	}
	r, err := v.stored(p.Resource)
	if err != nil && CodeOf(err) != CodeNotFound {
		return err
	}
	want := acl.Permission{Action: p.Action, Resource: r}
	if err != nil || !p.Covers(want) || c.authorize(want) != nil {
		return errorf(CodeForbidden, "permission %s is not allowed: %s is unauthorized", p, p)
	}
	return nil
}

// stored returns a permission's resource with the organization that it really
// belongs to. Resources without an ID, and of types that Fluxkeep doesn't store,
// are returned unchanged.
func (v *view) stored(r acl.Resource) (acl.Resource, error) {
	if r.ID == 0 {
		return r, nil
	}
	switch r.Type {
	case acl.Orgs:
		_, err := v.dir.Organization(r.ID)
		return acl.Resource{Type: r.Type, ID: r.ID, OrgID: r.ID}, err
	case acl.Users:
		_, err := v.dir.User(r.ID)
		return acl.Resource{Type: r.Type, ID: r.ID}, err
	case acl.Authorizations:
		token, err := v.dir.ListedToken(r.ID)
		if err != nil {
			return r, err
		}
		return acl.Resource{Type: r.Type, ID: r.ID, OrgID: token.Org}, nil
	}
	return r, nil
}

// misplaced reports whether the token has a permission that combines a resource's
// ID with an organization that the resource doesn't belong to. It has no effect
// here, but InfluxDB ignores the organization, so it may be the trace of an attack.
func (v *view) misplaced(t *Token) (bool, error) {
	for _, p := range t.Permissions {
		if p.Resource.ID == 0 || p.Resource.OrgID == 0 {
			continue
		}
		resource, err := v.stored(p.Resource)
		if err != nil && CodeOf(err) != CodeNotFound {
			return false, err
		}
		if err == nil && !p.Covers(acl.Permission{Action: p.Action, Resource: resource}) {
			return true, nil
		}
	}
	return false, nil
}

// warnMisplaced logs the IDs of tokens with a misplaced permission.
func (k *Keep) warnMisplaced(ctx context.Context) {
	err := k.readUnaudited(ctx, func(v *view) error {
		return v.dir.EachTokenID(func(id ID) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			t, err := v.dir.Token(id)
			if err == nil {
				var found bool
				if found, err = v.misplaced(&t); found {
					k.logger.Warn(MisplacedPermission+"; find out who made it, and delete it", "token", id)
				}
			}
			if errors.As(err, new(*record.DamageError)) {
				return nil // reading it reports the damage
			}
			return err
		})
	})
	if err != nil && ctx.Err() == nil {
		k.logger.Warn("tokens could not be checked for permissions outside their organization", "error", err)
	}
}

// MisplacedPermission is the problem with the tokens that warnMisplaced and Check
// name.
const MisplacedPermission = "a token names a resource outside its organization; the permission has no effect"
