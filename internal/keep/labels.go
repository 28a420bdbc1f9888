package keep

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// Labels are the names that tell people who they are signed in as, and where.
type Labels struct {
	User         string // "" if the user was deleted
	Token        string // the description of the caller's token
	Organization string
}

// Labels returns the names of the caller and of an organization, 0 for none. Needs
// access to the organization or to its secrets; otherwise it doesn't exist. Only
// refusals are audited: the action that follows has its own record.
func (k *Keep) Labels(ctx context.Context, c Caller, org ID) (Labels, error) {
	var out Labels
	if err := k.requireAuditLog(&c, "orgs.find", org); err != nil {
		return out, err
	}
	err := k.readUnaudited(ctx, func(v *view) error {
		out = Labels{}
		if err := v.nameCaller(&c, &out); err != nil || org == 0 {
			return err
		}
		if c.mayOrg(acl.Read, org) != nil && !c.ReadsSecrets(org) && !c.WritesSecrets(org) {
			return ErrOrganizationNotFound
		}
		o, err := v.dir.Organization(org)
		out.Organization = o.Name
		return err
	})
	if err != nil {
		return Labels{}, k.recordOutcome(c.record("orgs.find", org), k.now(), domain(err))
	}
	return out, nil
}

func (v *view) nameCaller(c *Caller, out *Labels) error {
	if c.User != 0 {
		u, err := v.dir.User(c.User)
		if err != nil && !errors.Is(err, ErrUserNotFound) {
			return err
		}
		out.User = u.Name
	}
	if id := c.actor(); id != 0 {
		t, err := v.dir.Token(id)
		if err != nil && !errors.Is(err, ErrTokenNotFound) {
			return err
		}
		out.Token = t.Description
	}
	return nil
}

// CheckWrite returns nil if the caller may change an organization's secrets, or some
// of them. Only refusals are audited: the action that follows has its own record.
func (k *Keep) CheckWrite(ctx context.Context, c Caller, org ID) error {
	if err := k.requireAuditLog(&c, "secrets.write", org); err != nil {
		return err
	}
	err := k.readUnaudited(ctx, func(v *view) error { return v.allowSecrets(&c, acl.Write, org) })
	if err == nil {
		return nil
	}
	return k.recordOutcome(c.record("secrets.write", org), k.now(), domain(err))
}

// ReadsAudit reports whether the caller may read the audit log of an organization or,
// if org is zero, of the server.
func (c *Caller) ReadsAudit(org ID) bool {
	return c.Operator() || org != 0 && c.owns(org)
}

// ReadsSecrets reports whether the caller may read an organization's secrets, or
// some of them.
func (c *Caller) ReadsSecrets(org ID) bool { return c.maySecrets(acl.Read, org) == nil }

// WritesSecrets reports whether the caller may change an organization's secrets, or
// some of them.
func (c *Caller) WritesSecrets(org ID) bool { return c.maySecrets(acl.Write, org) == nil }
