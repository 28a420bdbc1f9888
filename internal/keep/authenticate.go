package keep

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Authenticate finds the caller behind a token. An unknown or expired token is
// ErrUnauthenticated; a token whose user is inactive or deleted, ErrUserInactive.
// An inactive token is a caller without permissions. Only refusals are audited: the
// action that follows has its own record.
func (k *Keep) Authenticate(ctx context.Context, o Origin, value string) (Caller, error) {
	if k.log.Err() == nil {
		if i, ok := k.directory.KnownToken(value); ok && !k.clock.After(i.Wall) {
			k.activity.noteUse(i, o.Protocol, k.now)
			return newCaller(o, i), nil
		}
	}
	return k.lookUp(ctx, o, value)
}

// lookUp is Authenticate for a caller who isn't cached.
func (k *Keep) lookUp(ctx context.Context, o Origin, value string) (Caller, error) {
	c := Anonymous(o)
	if err := k.requireAuditLog(&c, "authenticate", 0); err != nil {
		return c, err
	}
	err := k.readUnaudited(ctx, func(v *view) error {
		i, err := v.dir.TokenIdentity(value)
		if err != nil {
			return err
		}
		if k.clock.After(i.Wall) {
			return ErrUnauthenticated
		}
		k.activity.noteUse(i, o.Protocol, k.now)
		c = newCaller(o, i)
		return nil
	})
	if err != nil {
		return c, k.recordOutcome(c.record("authenticate", 0), k.now(), domain(err))
	}
	return c, nil
}

// newCaller returns the caller with an identity.
func newCaller(o Origin, i *directory.Identity) Caller {
	c := Caller{
		Origin: o, User: i.User, Token: i.Token, Parent: i.Parent, inactive: i.Inactive,
		permissions: i.Permissions, names: i.Names, expires: i.Expires,
		userText: i.UserText, tokenText: i.TokenText,
	}
	if i.Parent != 0 {
		c.tokenText, c.loginText, c.renewable = i.ParentText, i.TokenText, !i.Fixed
	}
	return c
}

// AuthenticateSession finds the caller behind a session's key, and extends a
// session that is about to expire.
//
// With several keys, the first one of a session counts.
func (k *Keep) AuthenticateSession(ctx context.Context, o Origin, keys ...string) (Caller, error) {
	return k.authenticateSession(ctx, o, true, keys...)
}

// PeekSession is AuthenticateSession for a page that asks by itself: nobody uses the
// session, so it isn't extended.
func (k *Keep) PeekSession(ctx context.Context, o Origin, key string) (Caller, error) {
	return k.authenticateSession(ctx, o, false, key)
}

func (k *Keep) authenticateSession(ctx context.Context, o Origin, used bool, keys ...string) (Caller, error) {
	c := Anonymous(o)
	if err := k.requireAuditLog(&c, "authenticate", 0); err != nil {
		return c, err
	}
	renew := false
	err := k.readUnaudited(ctx, func(v *view) error {
		h, s, i, err := v.firstSession(keys)
		if err != nil {
			return err
		}
		renew = used && s.Due(v.Now)
		c = newCaller(o, i)
		c.session = h
		if used {
			k.activity.noteUse(i, o.Protocol, k.now)
		}
		if s.Token == 0 {
			c.hasSession, c.expires = true, s.Expires
		}
		return nil
	})
	if err == nil && renew {
		err = k.updateUnaudited(ctx, func(t *tx) error { return t.dir.RenewSession(c.session, k.clock.Wall()) })
		if errors.Is(err, store.ErrFull) {
			err = nil // it is still valid
		}
	}
	if err != nil {
		return Anonymous(o), k.recordOutcome(c.record("authenticate", 0), k.now(), domain(err))
	}
	return c, nil
}

// firstSession finds the first session that one of the keys belongs to.
func (v *view) firstSession(keys []string) (directory.Hash, directory.Session, *directory.Identity, error) {
	for _, key := range keys {
		if key == "" {
			continue
		}
		h := v.k.sessionHash(key)
		s, i, err := v.dir.SessionIdentity(h)
		if err == nil && (v.k.clock.After(s.Wall) || v.k.clock.After(i.Wall)) {
			err = ErrUnauthenticated
		}
		if !errors.Is(err, ErrUnauthenticated) {
			return h, s, i, err
		}
	}
	return directory.Hash{}, directory.Session{}, nil, ErrUnauthenticated
}
