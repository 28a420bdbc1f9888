package keep

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/errcode"
)

// Login is a login token, as returned by its creation or renewal.
type Login struct {
	ID        ID
	Value     string // set at creation, and never shown again
	Expires   time.Time
	Length    time.Duration // left now
	Renewable bool
}

// Login creates a login token from a token's ID and value. Every refusal is
// ErrUnauthenticated, except that too many failed attempts are CodeTooMany, and too
// many valid login tokens CodeInvalid. A correct attempt is never refused because of
// failed ones before it: checking it costs no more than authenticating any request.
func (k *Keep) Login(ctx context.Context, c Caller, role, secret string) (Login, error) {
	rec := c.record("tokens.login", 0)
	err := k.readUnaudited(ctx, func(v *view) error {
		_, err := v.dir.LoginParent(role, secret)
		return err
	})
	if err != nil {
		return Login{}, k.recordOutcome(rec, k.now(), domain(k.limitFailed(err, &c, role, "log in")))
	}
	n := directory.NewLogin{ID: acl.NewID(), Value: directory.NewTokenValue(), Length: directory.LoginLength, Wall: k.clock.Wall()}
	return k.createLogin(ctx, rec, n, k.logins.maxLogins, func(t *tx) (Token, error) {
		parent, err := t.dir.LoginParent(role, secret)
		if err == nil {
			rec.Token, rec.User = parent.ID.String(), parent.User.String()
		}
		return parent, err
	})
}

// createLogin creates a login token for the token that parent returns, and names it
// and its organization in the record. At most so many that represent the same token can
// be valid.
func (k *Keep) createLogin(ctx context.Context, rec *audit.Record, n directory.NewLogin, most int, parent func(*tx) (Token, error)) (Login, error) {
	var out Login
	var top ID
	err := k.update(ctx, rec, func(t *tx) error {
		p, err := parent(t)
		if err != nil {
			return err
		}
		rec.Organization = p.Org.String()
		var login Token
		if login, top, err = t.dir.AddLogin(p, n); err != nil {
			return err
		}
		if valid := k.logins.count(top); valid >= most {
			return errcode.Errorf(errcode.Invalid, "%d child tokens of this token are valid: use one again, or revoke some and try again in %v", valid, sweepInterval)
		}
		out, rec.Target = newLogin(login, t.Now), n.ID.String()
		if n.Description == "" {
			return nil
		}
		return k.setCalled(rec, n.Description)
	})
	if err != nil {
		return Login{}, err
	}
	k.logins.add(top)
	return out, nil
}

func newLogin(t Token, now time.Time) Login {
	return Login{ID: t.ID, Value: t.Value, Expires: t.Expires, Length: t.Expires.Sub(now), Renewable: !t.Fixed}
}

// MaxChildLength is the longest that a child can be valid without renewal.
const MaxChildLength = 24 * time.Hour

// So many login tokens that represent one token can be valid when a child is created
// or somebody logs in, so that a token that may only read can't fill the disk.
const (
	maxChildren = 10_000
	maxLogins   = 100_000
)

// loginCounts has the number of valid login tokens that represent a token: those that
// were in the store when it was last swept, and those that this server has created
// since. So it misses for a while what other servers create, and after a start what is
// there.
type loginCounts struct {
	maxChildren, maxLogins int

	mu sync.Mutex
	of map[ID]int
}

func (c *loginCounts) replace(of map[ID]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of = of
}

func (c *loginCounts) count(token ID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[token]
}

func (c *loginCounts) add(token ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[ID]int{}
	}
	c.of[token]++
}

// Child describes a login token to create with the caller's own token.
type Child struct {
	Length      time.Duration // 0: an hour
	Fixed       bool          // it can't be renewed
	Description string
}

// CreateChild creates a login token with the caller's own token. It has the
// caller's permissions and limits, ends with the caller's token at the latest, and
// like that one's with every token that it depends on.
func (k *Keep) CreateChild(ctx context.Context, c Caller, child Child) (Login, error) {
	n := directory.NewLogin{
		ID: acl.NewID(), Value: directory.NewTokenValue(), Length: child.Length, Fixed: child.Fixed,
		Description: shortened(child.Description, MaxName), Wall: k.clock.Wall(),
	}
	if n.Length <= 0 {
		n.Length = directory.LoginLength
	}
	n.Length = min(n.Length, MaxChildLength)
	return k.createLogin(ctx, c.record("tokens.create", 0), n, k.logins.maxChildren, func(t *tx) (Token, error) {
		if err := c.maySelf(); err != nil {
			return Token{}, err
		}
		parent, err := t.dir.Token(c.Token)
		if errors.Is(err, ErrTokenNotFound) || err == nil && (parent.Expired(t.Now) || !parent.Active) {
			err = ErrUnauthenticated // deleted, expired or deactivated since the caller was found
		}
		return parent, err
	})
}

// TokenByValue returns the token with a value, and TokenByID the one with an ID,
// with its current names and permissions. They need read on the token that it
// represents, unless it is the caller's own or was made with that. A missing or
// expired token and one that the caller may not read are ErrTokenNotFound.
func (k *Keep) TokenByValue(ctx context.Context, c Caller, value string) (Token, error) {
	return k.lookUpToken(ctx, c, func(v *view) (ID, error) {
		i, err := v.dir.TokenIdentity(value)
		if err != nil {
			return 0, err
		}
		return i.Token, nil
	})
}

func (k *Keep) TokenByID(ctx context.Context, c Caller, id ID) (Token, error) {
	return k.lookUpToken(ctx, c, func(*view) (ID, error) { return id, nil })
}

func (k *Keep) lookUpToken(ctx context.Context, c Caller, find func(*view) (ID, error)) (Token, error) {
	var out Token
	rec := c.record("tokens.read", 0)
	err := k.read(ctx, rec, func(v *view) error {
		if err := c.maySelf(); err != nil {
			return err
		}
		id, err := find(v)
		if err == nil {
			out, err = v.relatedToken(&c, id)
		}
		switch CodeOf(err) {
		case CodeUnauthorized, CodeForbidden, CodeNotFound:
			return ErrTokenNotFound
		}
		rec.Target = id.String()
		return err
	})
	return out, err
}

// relatedToken returns a token that is valid and that the caller may look up.
func (v *view) relatedToken(c *Caller, id ID) (Token, error) {
	t, err := v.dir.Token(id)
	if err != nil {
		return Token{}, err
	}
	line, err := v.dir.Ancestors(t)
	if err != nil {
		return Token{}, err
	}
	line = append([]Token{t}, line...)
	own := false
	for i := range line {
		if line[i].Expired(v.Now) {
			return Token{}, ErrTokenNotFound
		}
		own = own || line[i].ID == c.Token
	}
	source := &line[len(line)-1]
	if !own {
		if err := c.mayToken(acl.Read, source); err != nil {
			return Token{}, err
		}
	}
	t.Permissions, t.Names = source.Permissions, source.Names
	return t, nil
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

// RenewLogin extends the caller's login token, so that it is valid for an hour at
// least.
func (k *Keep) RenewLogin(ctx context.Context, c Caller) (Login, error) {
	var out Login
	rec := c.record("tokens.renew", 0)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := c.maySelf(); err != nil {
			return err
		}
		login, err := t.dir.RenewLogin(c.Token, k.clock.Wall())
		if err != nil {
			return err
		}
		rec.Organization = login.Org.String()
		out = newLogin(login, t.Now)
		return nil
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
	return k.update(revoking(ctx, &c), rec, func(t *tx) error {
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
