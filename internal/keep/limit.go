package keep

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// A token can be limited to some names, to some time, or both. It then does
// nothing that exceeds the limit or outlives it, and learns nothing about other
// names:
//
//   - It changes no users, organizations or members, since passwords and
//     memberships have no such limits: see mayChange.
//   - It makes and changes only tokens that are no wider than itself, and sees
//     no tokens for other names: see mayCreate and mayToken.
//   - It does nothing with whole versions of secrets: see unlimited.
//   - It reads nothing that depends on other names: see knownMap.

// Limited reports whether the caller sees only some of the names.
func (c *Caller) Limited() bool { return len(c.names) > 0 }

// ends reports whether the caller's rights end. A session ends too, but its
// user can sign in again.
func (c *Caller) ends() bool { return !c.hasSession && !c.expires.IsZero() }

// sees reports whether the caller's token is for this name. It says nothing
// about reading or writing.
func (c *Caller) sees(name string) bool {
	if len(c.names) == 0 {
		return true
	}
	for _, p := range c.names {
		if matchName(p, name) {
			return true
		}
	}
	return false
}

// visible returns which names the caller sees, nil for all.
func (c *Caller) visible() func(name string) bool {
	if !c.Limited() {
		return nil
	}
	return c.sees
}

func (c *Caller) unlimited(what string) error {
	if c.Limited() {
		return errorf(CodeForbidden, "a token for some names can't %s", what)
	}
	return nil
}

// mayChange asks for write on users or organizations, to change them or who
// belongs to them.
func (c *Caller) mayChange(r acl.Resource) error {
	if err := c.may(acl.Write, r); err != nil {
		return err
	}
	if c.Limited() || c.ends() {
		return errorf(CodeForbidden, "a limited token can't change users, organizations or members")
	}
	return nil
}

func (c *Caller) mayChangeOrg(org ID) error {
	return c.mayChange(acl.Resource{Type: acl.Orgs, ID: org})
}

func (c *Caller) mayChangeUser(user ID) error {
	return c.mayChange(acl.Resource{Type: acl.Users, ID: user})
}

// containsNames reports whether a token with these patterns is for no name that
// the caller doesn't see.
func (c *Caller) containsNames(patterns []string) bool {
	if !c.Limited() {
		return true
	}
	for _, p := range patterns {
		// A star in p fits only a star of the caller's pattern, which fits
		// all that p's star does.
		if !c.sees(p) {
			return false
		}
	}
	return len(patterns) > 0
}

// containsTime reports whether a token that ends then doesn't outlive the
// caller.
func (c *Caller) containsTime(expires time.Time) bool {
	return !c.ends() || !expires.IsZero() && !expires.After(c.expires)
}
