package keep

import (
	"bytes"
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/directory"
)

// SetPassword gives a user a new password and ends the user's sessions. Needs
// write on the user.
func (k *Keep) SetPassword(ctx context.Context, c Caller, id ID, password string) error {
	return k.replacePassword(ctx, c, id, nil, password)
}

// ChangePassword replaces a user's password if old is right, and ends the user's
// sessions except the caller's. Needs write on the user.
func (k *Keep) ChangePassword(ctx context.Context, c Caller, id ID, old, password string) error {
	return k.replacePassword(ctx, c, id, &old, password)
}

// ReplaceOutdatedPassword replaces the password of a user who can't sign in with it,
// because it is right and not allowed any more: passwords that InfluxDB accepted
// once, and that were imported. Otherwise it returns ErrUnauthenticated, also for a
// right password that is allowed, since whoever has one signs in first.
func (k *Keep) ReplaceOutdatedPassword(ctx context.Context, c Caller, name, old, password string) error {
	rec := c.record("users.password", 0)
	a, user, before, err := k.proveUser(ctx, c, name, old)
	if err == nil && checkPassword(old) == nil {
		err = ErrUnauthenticated
	}
	var hashed []byte
	if err == nil {
		hashed, err = k.passwords.hash(ctx, &k.passwords.strangers, password)
	}
	if err != nil {
		return k.recordOutcome(rec, k.now(), domain(err))
	}
	err = k.update(ctx, rec, func(t *tx) error {
		account, err := t.dir.Account(user)
		if errors.Is(err, ErrUserNotFound) {
			return ErrUnauthenticated
		}
		if err != nil {
			return err
		}
		if !account.Active || !bytes.Equal(account.Password, before) {
			return ErrUnauthenticated // or changed since it was compared
		}
		rec.User, rec.Target = user.String(), user.String()
		return t.changePassword(account, hashed, directory.Hash{})
	})
	if err == nil {
		k.limiter.succeeded(k.now(), a)
	}
	return err
}

// replacePassword checks permissions before it hashes a password, and again when it
// writes. Attempts are limited like attempts to sign in.
func (k *Keep) replacePassword(ctx context.Context, c Caller, id ID, old *string, password string) error {
	rec := c.record("users.password", 0)
	rec.Target = id.String()
	refuse := func(err error) error { return k.recordOutcome(rec, k.now(), domain(err)) }
	if err := k.readUnaudited(ctx, func(v *view) error { return v.mayPassword(&c, id) }); err != nil {
		return refuse(err)
	}
	a := attempt{k.records.Hash("limiter-password", id.String()), c.Origin.network()}
	if _, err := k.attempt(ctx, a, "change the password"); err != nil {
		return refuse(err)
	}
	if old != nil {
		if err := k.checkOldPassword(ctx, id, *old); err != nil {
			return refuse(err)
		}
	}
	hashed, err := k.passwords.hash(ctx, &k.passwords.known, password)
	if err != nil {
		return refuse(err)
	}
	err = k.update(ctx, rec, func(t *tx) error {
		if err := t.mayPassword(&c, id); err != nil {
			return err
		}
		a, err := t.dir.Account(id)
		if err != nil {
			return err
		}
		except := directory.Hash{}
		if old != nil {
			except = c.session
		}
		return t.changePassword(a, hashed, except)
	})
	if err == nil {
		k.limiter.succeeded(k.now(), a)
	}
	return err
}

func (v *view) mayPassword(c *Caller, id ID) error {
	if err := c.mayChangeUser(id); err != nil {
		return err
	}
	_, err := v.dir.User(id)
	if errors.Is(err, ErrUserNotFound) {
		return errorf(CodeForbidden, "your userID is incorrect") // InfluxDB's words
	}
	return err
}

func (k *Keep) checkOldPassword(ctx context.Context, id ID, old string) error {
	hashed, err := k.passwordOf(ctx, id)
	if err != nil {
		return err
	}
	right, err := k.passwords.match(ctx, &k.passwords.known, hashed, old)
	if err == nil && !right {
		err = errorf(CodeForbidden, "your username or password is incorrect")
	}
	return err
}

func (t *tx) changePassword(a directory.Account, hashed []byte, except directory.Hash) error {
	a.Password, a.Updated = hashed, t.Now
	if err := t.dir.EndSessions(a.ID, except); err != nil {
		return err
	}
	return t.dir.PutAccount(a)
}
