package keep

import (
	"context"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/directory"
)

// Authenticate finds the caller behind a token. An unknown or expired token is
// ErrUnauthenticated; a token whose user is inactive or deleted, ErrUserInactive.
// An inactive token is a caller without permissions. Only refusals are audited: the
// action that follows has its own record.
func (k *Keep) Authenticate(ctx context.Context, o Origin, value string) (Caller, error) {
	if k.log.Err() == nil {
		if i, ok := k.directory.KnownToken(value); ok && !k.clock.After(i.Wall) {
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
		c.tokenText, c.loginText, c.renewable = i.ParentText, i.TokenText, true
	}
	return c
}

// AuthenticateSession finds the caller behind a session's key, and extends a
// session that is about to expire.
func (k *Keep) AuthenticateSession(ctx context.Context, o Origin, value string) (Caller, error) {
	c := Anonymous(o)
	if err := k.requireAuditLog(&c, "authenticate", 0); err != nil {
		return c, err
	}
	renew := false
	err := k.readUnaudited(ctx, func(v *view) error {
		if value == "" {
			return ErrUnauthenticated
		}
		h := k.sessionHash(value)
		s, i, err := v.dir.SessionIdentity(h)
		if err != nil {
			return err
		}
		if k.clock.After(s.Wall) {
			return ErrUnauthenticated
		}
		renew = s.Due(v.Now)
		c = newCaller(o, i)
		c.session, c.hasSession, c.expires = h, true, s.Expires
		return nil
	})
	if err == nil && renew {
		err = k.updateUnaudited(ctx, func(t *tx) error { return t.dir.RenewSession(c.session, k.clock.Wall()) })
	}
	if err != nil {
		return Anonymous(o), k.recordOutcome(c.record("authenticate", 0), k.now(), domain(err))
	}
	return c, nil
}

func (k *Keep) sessionHash(value string) directory.Hash {
	return directory.SessionHash(k.records, value)
}

// Session is a user's sign-in.
type Session struct {
	Key     string // shown once; only a keyed hash of it is stored
	Expires time.Time
}

// SignIn creates a session for a user with the right password. The session of an
// inactive user has no permissions. Refusals are ErrUnauthenticated and all take
// the same time, except that a right password that is no longer allowed says so,
// and too many attempts are CodeTooMany.
func (k *Keep) SignIn(ctx context.Context, c Caller, name, password string) (Session, error) {
	rec := c.record("sessions.create", 0)
	refuse := func(err error) (Session, error) { return Session{}, k.recordOutcome(rec, k.now(), domain(err)) }
	a := attempt{k.records.Hash("limiter", name), c.Origin.network()}
	lane, err := k.attempt(ctx, a, "sign in")
	if err != nil {
		return refuse(err)
	}
	var user ID
	err = k.readUnaudited(ctx, func(v *view) (err error) {
		user, err = v.dir.UserNamed(name)
		return err
	})
	if err != nil {
		return refuse(err)
	}
	hashed, err := k.passwordOf(ctx, user)
	if err != nil {
		return refuse(err)
	}
	right, err := k.passwords.match(ctx, lane, hashed, password)
	if err != nil {
		return refuse(err)
	}
	if !right {
		return refuse(ErrUnauthenticated)
	}
	s := Session{Key: directory.NewTokenValue()}
	err = k.update(ctx, rec, func(t *tx) error {
		rec.User = user.String()
		if _, err := t.dir.User(user); err != nil {
			if errors.Is(err, ErrUserNotFound) {
				return ErrUnauthenticated // deleted since the password was compared
			}
			return err
		}
		if err := checkPassword(password); err != nil {
			return errorf(CodeForbidden, "password change required\n%s", err)
		}
		s.Expires = t.Now.Add(k.sessionLength)
		return t.dir.AddSession(k.sessionHash(s.Key), directory.Session{User: user, Created: t.Now, Expires: s.Expires, Wall: k.clock.Wall()})
	})
	if err != nil {
		return Session{}, err
	}
	k.limiter.succeeded(k.now(), a)
	return s, nil
}

// SignOut ends a session.
func (k *Keep) SignOut(ctx context.Context, c Caller, value string) error {
	h := k.sessionHash(value)
	rec := c.record("sessions.delete", 0)
	return k.update(ctx, rec, func(t *tx) error {
		s, err := t.dir.Session(h)
		if err != nil {
			return err
		}
		rec.User = s.User.String()
		return t.dir.EndSession(h, s.User)
	})
}

// sweepExpired periodically removes expired sessions and login tokens.
func (k *Keep) sweepExpired(ctx context.Context) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := k.removeExpired(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("expired sessions could not be removed, will retry", "error", err)
		}
	}
}

// removeExpired removes expired sessions and login tokens.
func (k *Keep) removeExpired(ctx context.Context) error {
	var expired *directory.Expired
	err := k.readUnaudited(ctx, func(v *view) (err error) {
		expired, err = v.dir.Expired()
		return err
	})
	if err != nil || expired.Empty() {
		return err
	}
	return k.updateUnaudited(ctx, func(t *tx) error { return t.dir.RemoveExpired(expired) })
}
