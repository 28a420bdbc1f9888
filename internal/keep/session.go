package keep

import (
	"context"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

func (k *Keep) sessionHash(value string) directory.Hash {
	return directory.SessionHash(k.records, value)
}

// Session is a sign-in.
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
	a, user, _, err := k.proveUser(ctx, c, name, password)
	if err != nil {
		return Session{}, k.recordOutcome(rec, k.now(), domain(err))
	}
	if err := k.readUnaudited(ctx, func(v *view) error {
		i, err := v.dir.UserIdentity(user)
		if err == nil {
			ctx = signingIn(ctx, c.Origin, i)
		}
		return err
	}); err != nil && !errors.Is(err, ErrUserInactive) {
		return Session{}, k.recordOutcome(rec, k.now(), domain(err))
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

// signingIn returns the context for adding a session of an identity. An operator without a
// token must get in to make room in the store. Sessions are small and expire.
func signingIn(ctx context.Context, o Origin, i *directory.Identity) context.Context {
	if c := newCaller(o, i); c.Operator() {
		return store.WithReserve(ctx, store.LastReserve)
	}
	return ctx
}

// proveUser finds the user with a name and a right password, or returns
// ErrUnauthenticated, always in the same time. It also returns the attempt, which
// has succeeded once the caller acts as the user, and the hash of the password.
func (k *Keep) proveUser(ctx context.Context, c Caller, name, password string) (a attempt, user ID, hashed []byte, err error) {
	a = attempt{k.records.Hash("limiter", name), c.Origin.network()}
	lane, err := k.attempt(ctx, a, "sign in")
	if err != nil {
		return a, 0, nil, err
	}
	err = k.readUnaudited(ctx, func(v *view) (err error) {
		user, err = v.dir.UserNamed(name)
		return err
	})
	if err != nil {
		return a, 0, nil, err
	}
	if hashed, err = k.passwordOf(ctx, user); err != nil {
		return a, 0, nil, err
	}
	right, err := k.passwords.match(ctx, lane, hashed, password)
	if err == nil && !right {
		err = ErrUnauthenticated
	}
	return a, user, hashed, err
}

// SignInToken creates a session that stands for a token: it has the token's current
// permissions and limits, and ends with it. An unknown, inactive or expired token is
// ErrUnauthenticated, and too many failed attempts are CodeTooMany.
func (k *Keep) SignInToken(ctx context.Context, c Caller, token string) (Session, error) {
	rec := c.record("sessions.create", 0)
	var i *directory.Identity
	find := func(v *view) (err error) {
		i, err = v.dir.TokenIdentity(token)
		if err == nil && (i.Inactive || k.clock.After(i.Wall)) || errors.Is(err, ErrUserInactive) {
			err = ErrUnauthenticated
		}
		return err
	}
	err := k.readUnaudited(ctx, find)
	if err != nil {
		return Session{}, k.recordOutcome(rec, k.now(), domain(k.limitFailed(err, &c, "", "sign in")))
	}
	ctx = signingIn(ctx, c.Origin, i)
	s := Session{Key: directory.NewTokenValue()}
	err = k.update(ctx, rec, func(t *tx) error {
		if err := find(&t.view); err != nil {
			return err
		}
		rec.User, rec.Token = i.UserText, i.TokenText
		s.Expires = t.Now.Add(k.sessionLength)
		return t.dir.AddSession(k.sessionHash(s.Key), directory.Session{Token: i.Token, Created: t.Now, Expires: s.Expires, Wall: k.clock.Wall()})
	})
	if err != nil {
		return Session{}, err
	}
	return s, nil
}

// ReplaceSession ends the session of old, in whose browser another caller has signed in.
// An operator must get in even if old may not use the store's last reserve.
func (k *Keep) ReplaceSession(ctx context.Context, old Caller, key string, by Caller) error {
	return k.SignOut(revoking(ctx, &by), old, key)
}

// SignOut ends the sessions with the keys, of which one at least must exist.
func (k *Keep) SignOut(ctx context.Context, c Caller, keys ...string) error {
	rec := c.record("sessions.delete", 0)
	return k.update(revoking(ctx, &c), rec, func(t *tx) error {
		var result error = ErrUnauthenticated
		for _, key := range keys {
			h := k.sessionHash(key)
			s, err := t.dir.Session(h)
			if errors.Is(err, ErrUnauthenticated) {
				continue
			}
			if err != nil {
				return err
			}
			if s.Token != 0 {
				rec.Token = s.Token.String()
			} else {
				rec.User = s.User.String()
			}
			if err := t.dir.EndSession(h, s.Owner()); err != nil {
				return err
			}
			result = nil
		}
		return result
	})
}
