package keep

import (
	"context"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/directory"
)

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
