package keep

import (
	"context"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// A login token stands for the token that it was made with, for an hour at a
// time. It may do what that token may do at the moment, and never outlives it.

const loginLength = time.Hour

// Login is a login token, in the answer to its creation or renewal.
type Login struct {
	ID      ID
	Value   string // set at creation, and never shown again
	Expires time.Time
	Length  time.Duration // left now
}

func (v *view) loginExpires(parent *tokenRecord) time.Time {
	end := v.Now.Add(loginLength)
	if !parent.Expires.IsZero() && parent.Expires.Before(end) {
		end = parent.Expires
	}
	return end
}

// Login makes a login token from a token's ID and the token. Every refusal is
// ErrUnauthenticated; too many wrong attempts are CodeTooMany. A right one is
// never refused for the wrong ones before it: to find it costs no more than to
// find the caller of any request.
func (k *Keep) Login(ctx context.Context, c Caller, role, secret string) (Login, error) {
	rec := c.record("tokens.login", 0)
	err := k.peek(ctx, func(v *view) error {
		_, _, err := v.loginParent(role, secret)
		return err
	})
	if errors.Is(err, ErrUnauthenticated) {
		if wait, _, ok := k.limiter.take(k.now(), attempt{k.records.Hash("limiter-token", role), c.Origin.network()}); !ok {
			err = tooMany("attempts to log in", wait)
		}
	}
	if err != nil {
		return Login{}, k.finish(rec, k.now(), domain(err))
	}
	out := Login{ID: acl.NewID(), Value: newTokenValue()}
	err = k.update(ctx, rec, func(t *tx) error {
		id, parent, err := t.loginParent(role, secret)
		if err != nil {
			return err
		}
		out.Expires = t.loginExpires(parent)
		out.Length = out.Expires.Sub(t.Now)
		rec.Token, rec.User, rec.Target = id.String(), parent.User.String(), out.ID.String()
		return t.putToken(out.ID, nil, &tokenRecord{
			Hash: t.Hash("token", out.Value), Org: parent.Org, User: parent.User, Parent: id,
			Created: t.Now, Updated: t.Now, Expires: out.Expires, Wall: k.clock.Wall(),
		})
	})
	if err != nil {
		return Login{}, err
	}
	return out, nil
}

// loginParent returns the token that a role and a secret stand for, or
// ErrUnauthenticated.
func (v *view) loginParent(role, secret string) (ID, *tokenRecord, error) {
	id, parent, err := v.tokenByValue(secret)
	if err != nil {
		return 0, nil, err
	}
	if parent == nil || parent.Parent != 0 || id.String() != role || parent.Inactive || parent.expired(v.Now) {
		return 0, nil, ErrUnauthenticated
	}
	if err := v.activeUser(parent.User); err != nil {
		if errors.Is(err, ErrUserInactive) {
			err = ErrUnauthenticated
		}
		return 0, nil, err
	}
	return id, parent, nil
}

// mayItself asks for what every token may do with itself, unless it is switched
// off: who may switch it on again decides what becomes of it.
func (c *Caller) mayItself() error {
	switch {
	case c.Token == 0:
		return ErrUnauthenticated
	case c.inactive:
		return ErrTokenInactive
	}
	return nil
}

// RenewLogin gives the caller's login token another hour.
func (k *Keep) RenewLogin(ctx context.Context, c Caller) (Login, error) {
	var out Login
	err := k.update(ctx, c.record("tokens.renew", 0), func(t *tx) error {
		if err := c.mayItself(); err != nil {
			return err
		}
		old, err := t.token(c.Token)
		if err != nil {
			return err
		}
		if old.Parent == 0 {
			return errorf(CodeInvalid, "lease is not renewable") // Vault's words
		}
		parent, err := t.token(old.Parent)
		if err != nil {
			return err
		}
		r := *old
		r.Updated, r.Expires, r.Wall = t.Now, t.loginExpires(parent), k.clock.Wall()
		out = Login{ID: c.Token, Expires: r.Expires, Length: r.Expires.Sub(t.Now)}
		return t.putToken(c.Token, old, &r)
	})
	return out, err
}

// TokenSelf returns the caller's own token, a login token too. Its names and
// permissions are those that it has now.
func (k *Keep) TokenSelf(ctx context.Context, c Caller) (Token, error) {
	var out Token
	err := k.read(ctx, c.record("tokens.read", 0), func(v *view) error {
		if err := c.mayItself(); err != nil {
			return err
		}
		r, err := v.token(c.Token)
		if err != nil {
			return err
		}
		out = Token{
			ID: c.Token, Org: r.Org, User: r.User, Active: !r.Inactive, Description: r.Description,
			Permissions: c.Permissions(), Created: r.Created, Updated: r.Updated, Expires: r.Expires, Names: c.names,
		}
		return nil
	})
	return out, err
}

// RevokeSelf ends the caller's own token for good.
func (k *Keep) RevokeSelf(ctx context.Context, c Caller) error {
	rec := c.record("tokens.delete", 0)
	rec.Target = c.Token.String()
	return k.update(ctx, rec, func(t *tx) error {
		if err := c.mayItself(); err != nil {
			return err
		}
		r, err := t.token(c.Token)
		if err != nil {
			return err
		}
		return t.deleteToken(c.Token, r)
	})
}
