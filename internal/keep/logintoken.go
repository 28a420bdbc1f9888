package keep

import (
	"context"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
)

// Login is a login token, as returned by its creation or renewal.
type Login struct {
	ID      ID
	Value   string // set at creation, and never shown again
	Expires time.Time
	Length  time.Duration // left now
}

// Login creates a login token from a token's ID and value. Every refusal is
// ErrUnauthenticated, except that too many failed attempts are CodeTooMany. A
// correct attempt is never refused because of failed ones before it: checking it
// costs no more than authenticating any request.
func (k *Keep) Login(ctx context.Context, c Caller, role, secret string) (Login, error) {
	rec := c.record("tokens.login", 0)
	err := k.readUnaudited(ctx, func(v *view) error {
		_, err := v.dir.LoginParent(role, secret)
		return err
	})
	if errors.Is(err, ErrUnauthenticated) {
		if wait, _, ok := k.limiter.take(k.now(), attempt{k.records.Hash("limiter-token", role), c.Origin.network()}); !ok {
			err = tooMany("attempts to log in", wait)
		}
	}
	if err != nil {
		return Login{}, k.recordOutcome(rec, k.now(), domain(err))
	}
	out := Login{ID: acl.NewID(), Value: directory.NewTokenValue()}
	err = k.update(ctx, rec, func(t *tx) error {
		parent, err := t.dir.LoginParent(role, secret)
		if err != nil {
			return err
		}
		rec.Token, rec.User, rec.Target = parent.ID.String(), parent.User.String(), out.ID.String()
		login, err := t.dir.AddLogin(out.ID, out.Value, parent, k.clock.Wall())
		out.Expires, out.Length = login.Expires, login.Expires.Sub(t.Now)
		return err
	})
	if err != nil {
		return Login{}, err
	}
	return out, nil
}

// maySelf checks that the caller is an active token, which may act on itself. An
// inactive one is up to those who may reactivate it.
func (c *Caller) maySelf() error {
	switch {
	case c.Token == 0:
		return ErrUnauthenticated
	case c.inactive:
		return ErrTokenInactive
	}
	return nil
}

// RenewLogin extends the caller's login token by an hour.
func (k *Keep) RenewLogin(ctx context.Context, c Caller) (Login, error) {
	var out Login
	err := k.update(ctx, c.record("tokens.renew", 0), func(t *tx) error {
		if err := c.maySelf(); err != nil {
			return err
		}
		login, err := t.dir.RenewLogin(c.Token, k.clock.Wall())
		out = Login{ID: login.ID, Expires: login.Expires, Length: login.Expires.Sub(t.Now)}
		return err
	})
	return out, err
}

// TokenSelf returns the caller's own token, which may be a login token, with its
// current names and permissions.
func (k *Keep) TokenSelf(ctx context.Context, c Caller) (Token, error) {
	var out Token
	err := k.read(ctx, c.record("tokens.read", 0), func(v *view) error {
		if err := c.maySelf(); err != nil {
			return err
		}
		t, err := v.dir.Token(c.Token)
		if err != nil {
			return err
		}
		out = t
		out.Permissions, out.Names = c.Permissions(), c.names
		return nil
	})
	return out, err
}

// RevokeSelf revokes the caller's own token.
func (k *Keep) RevokeSelf(ctx context.Context, c Caller) error {
	rec := c.record("tokens.delete", 0)
	rec.Target = c.Token.String()
	return k.update(ctx, rec, func(t *tx) error {
		if err := c.maySelf(); err != nil {
			return err
		}
		token, err := t.dir.Token(c.Token)
		if err != nil {
			return err
		}
		rec.Organization = token.Org.String()
		if err := t.k.setCalled(rec, token.Description); err != nil {
			return err
		}
		return t.dir.DeleteToken(c.Token)
	})
}
