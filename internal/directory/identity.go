package directory

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// Identity is the user behind a token or a session, with its permissions. It is
// shared and must not be modified.
type Identity struct {
	User        ID
	Token       ID // zero for a session
	Org         ID // the token's
	Parent      ID // for a login token, the token it represents; else zero
	Inactive    bool
	Fixed       bool // a login token that can't be renewed
	Permissions acl.Set
	Names       []string  // name patterns, for a token limited to some names
	Expires     time.Time // zero: never
	Wall        time.Time // the login token's, else zero
	// The IDs as text, "" for zero, formatted once rather than on every request.
	UserText, TokenText, ParentText string

	// Noted is for the caller who remembers when the token was used.
	Noted atomic.Uint64

	until time.Time // when it must be looked up again; zero: never
}

// TokenIdentity finds the user behind a token. An unknown or expired token is
// ErrUnauthenticated; a token whose user is inactive or deleted, ErrUserInactive.
func (d Reader) TokenIdentity(value string) (*Identity, error) {
	s, h := d.snapshot(), tokenHash(d.d.db, value)
	if i, ok := s.token(h, d.r.Now); ok {
		return i, nil
	}
	i, err := d.tokenIdentity(value)
	if err == nil {
		s.tokens.Put(h, i)
	}
	return i, err
}

func (d Reader) tokenIdentity(value string) (*Identity, error) {
	t, err := d.tokenByValue(value)
	if err != nil {
		return nil, err
	}
	return d.identityOf(t)
}

// identityOf returns a token's identity. An expired token is ErrUnauthenticated.
func (d Reader) identityOf(t Token) (*Identity, error) {
	if t.Expired(d.r.Now) {
		return nil, ErrUnauthenticated
	}
	i := &Identity{
		User: t.User, Token: t.ID, Org: t.Org, Inactive: !t.Active,
		Permissions: commonFirst(t.Permissions), Names: t.Names, Expires: t.Expires, Wall: t.Wall, until: t.Expires,
		UserText: t.User.String(), TokenText: t.ID.String(),
	}
	if t.Parent != 0 {
		i.Fixed = t.Fixed
		if err := d.bindToParent(i, t); err != nil {
			return nil, err
		}
	}
	_, err := d.activeUser(t.User)
	return i, err
}

// bindToParent gives a login token the current permissions of the token it
// represents. It refuses one that depends on a token that is deleted, inactive or
// expired.
func (d Reader) bindToParent(i *Identity, login Token) error {
	ancestors, err := d.Ancestors(login)
	if errors.Is(err, ErrTokenNotFound) {
		return ErrUnauthenticated
	}
	if err != nil {
		return err
	}
	for _, t := range ancestors {
		if !t.Active || t.Expired(d.r.Now) {
			return ErrUnauthenticated
		}
		if !t.Expires.IsZero() && t.Expires.Before(i.until) {
			i.until = t.Expires
		}
	}
	t := ancestors[len(ancestors)-1]
	i.Permissions, i.Names = commonFirst(t.Permissions), t.Names
	i.Parent, i.ParentText = t.ID, t.ID.String()
	return nil
}

// commonFirst puts the permissions that most requests need first.
func commonFirst(s acl.Set) acl.Set {
	rank := func(p acl.Permission) int {
		if p.Resource.Type == acl.Secrets || p.Resource.Type == acl.Orgs {
			return 0
		}
		return 1
	}
	s = slices.Clone(s)
	slices.SortStableFunc(s, func(a, b acl.Permission) int { return rank(a) - rank(b) })
	return s
}

// SessionIdentity finds a session and the user or token behind it. An unknown or
// expired session, or one whose token expired or was deleted, is ErrUnauthenticated;
// one whose user is inactive or deleted, ErrUserInactive.
func (d Reader) SessionIdentity(h Hash) (Session, *Identity, error) {
	session, err := d.Session(h)
	if err != nil {
		return Session{}, nil, err
	}
	if session.Token != 0 {
		i, err := d.sessionToken(session.Token)
		return session, i, err
	}
	i, err := d.UserIdentity(session.User)
	return session, i, err
}

// UserIdentity returns the identity of a user's sessions.
func (d Reader) UserIdentity(id ID) (*Identity, error) {
	s := d.snapshot()
	if i, ok := s.users.Get(id); ok {
		return i, nil
	}
	i, err := d.userIdentity(id)
	if err == nil {
		s.users.Put(id, i)
	}
	return i, err
}

// sessionToken returns the identity of the token that was signed in with.
func (d Reader) sessionToken(id ID) (*Identity, error) {
	t, err := d.Token(id)
	if errors.Is(err, ErrTokenNotFound) {
		return nil, ErrUnauthenticated
	}
	if err != nil {
		return nil, err
	}
	return d.identityOf(t)
}

// userIdentity returns the permissions of a user's session: those from
// memberships, those of the user's active tokens (whoever created them), and
// access to the user's own account.
func (d Reader) userIdentity(id ID) (*Identity, error) {
	a, err := d.activeUser(id)
	if err != nil {
		return nil, err
	}
	var s acl.Set
	if a.Owner {
		s = append(s, acl.Everything()...)
	}
	err = d.EachMembership(id, func(org ID, role Role) error {
		switch role {
		case Owner:
			s = append(s, acl.Owner(org)...)
		case Member:
			s = append(s, acl.Member(org)...)
		default:
			return fmt.Errorf("unknown role %q", role)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = d.scanTokens(func(token ID, r *tokenRecord) error {
		// A token that is limited in time or names gives a session nothing.
		if r.User != id || r.Inactive || r.Parent != 0 || !r.Expires.IsZero() || len(r.Names) > 0 {
			return nil
		}
		if err := d.checkToken(token, r); err != nil {
			return err
		}
		s = append(s, r.Permissions...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Identity{User: id, UserText: id.String(), Permissions: append(s, acl.Self(id)...)}, nil
}
