package keep

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// A token can be limited to some names, to a time, or both. It can then do nothing
// that exceeds or outlives the limit, and learns nothing about other names:
//
//   - It can't change users, organizations or members, since passwords and
//     memberships have no such limits: see mayChange.
//   - It can create and change only tokens with the same or tighter limits, and
//     can't see tokens for other names: see mayCreate and mayToken.
//   - It can't act on whole versions of secrets: see unlimited.
//   - It can't read data that depends on other names: see knownMap.

// Limited reports whether the caller sees only some of the names.
func (c *Caller) Limited() bool { return len(c.names) > 0 }

// ends reports whether the caller's permissions end. A session ends too, but its
// user can sign in again.
func (c *Caller) ends() bool { return !c.hasSession && !c.expires.IsZero() }

// sees reports whether the caller's token includes this name. It doesn't check
// permissions.
func (c *Caller) sees(name string) bool { return fitsNames(c.names, name) }

// fitsNames reports whether a token with these patterns includes a name.
func fitsNames(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if matchName(p, name) {
			return true
		}
	}
	return false
}

// visible returns a filter for the names that the caller sees, nil for all.
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

// mayChange checks write permission on users or organizations, including members.
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

// containsNames reports whether the caller sees every name that matches these
// patterns.
func (c *Caller) containsNames(patterns []string) bool {
	if !c.Limited() {
		return true
	}
	for _, p := range patterns {
		// A star in p can match only a star in the caller's pattern, which
		// matches everything that p's star matches.
		if !c.sees(p) {
			return false
		}
	}
	return len(patterns) > 0
}

// containsTime reports whether a token that expires then doesn't outlive the
// caller.
func (c *Caller) containsTime(expires time.Time) bool {
	return !c.ends() || !expires.IsZero() && !expires.After(c.expires)
}
