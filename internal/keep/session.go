package keep

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// renewBefore is how long before its end a session that is used gets more
// time, as in InfluxDB.
const renewBefore = 5 * time.Minute

// Authenticate finds the caller behind a token. An unknown or expired token
// is ErrUnauthenticated; a token whose user is inactive or gone,
// ErrUserInactive. An inactive token is a caller who may do nothing.
// Only refusals are audited: what the caller then does has a record of its
// own.
func (k *Keep) Authenticate(ctx context.Context, o Origin, value string) (Caller, error) {
	sent := k.records.Hash("token", value)
	if k.log.Err() == nil {
		if known, ok := k.callers.get(sent, o, k.now()); ok && !k.clock.After(known.wall) {
			return known, nil
		}
	}
	return k.lookUp(ctx, o, value, sent)
}

// lookUp is Authenticate for a caller who is not known yet.
func (k *Keep) lookUp(ctx context.Context, o Origin, value string, sent record.Hash) (Caller, error) {
	c := Anonymous(o)
	if err := k.audible(&c, "authenticate", 0); err != nil {
		return c, err
	}
	epoch := k.callers.epoch()
	err := k.peek(ctx, func(v *view) error {
		id, r, err := v.tokenByValue(value)
		if err != nil {
			return err
		}
		if r == nil || r.expired(v.Now) || k.clock.After(r.Wall) {
			return ErrUnauthenticated
		}
		caller := tokenCaller(o, id, r)
		if r.Parent != 0 {
			if err := v.boundToParent(&caller, r); err != nil {
				return err
			}
		}
		if err := v.activeUser(r.User); err != nil {
			return err
		}
		c = caller
		return nil
	})
	if err != nil {
		return c, k.finish(c.record("authenticate", 0), k.now(), domain(err))
	}
	if k.records.Exclusive() {
		k.callers.put(sent, epoch, c)
	}
	return c, nil
}

func tokenCaller(o Origin, id ID, r *tokenRecord) Caller {
	return Caller{
		Origin: o, User: r.User, Token: id, inactive: r.Inactive,
		permissions: oftenFirst(toSet(r.Permissions)), names: r.Names, expires: r.Expires, until: r.Expires, wall: r.Wall, renewable: r.Parent != 0,
		userText: r.User.String(), tokenText: id.String(),
	}
}

// oftenFirst puts what is asked of each request before all else that a token
// may do.
func oftenFirst(s acl.Set) acl.Set {
	rank := func(p acl.Permission) int {
		if p.Resource.Type == acl.Secrets || p.Resource.Type == acl.Orgs {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(s, func(a, b acl.Permission) int { return rank(a) - rank(b) })
	return s
}

// boundToParent lets a login token do what the token that it came from may do
// now, and nothing when that one is gone, inactive or expired.
func (v *view) boundToParent(c *Caller, r *tokenRecord) error {
	parent, err := v.token(r.Parent)
	if errors.Is(err, ErrTokenNotFound) {
		return ErrUnauthenticated
	}
	if err != nil {
		return err
	}
	if parent.Inactive || parent.expired(v.Now) {
		return ErrUnauthenticated
	}
	c.permissions, c.names = oftenFirst(toSet(parent.Permissions)), parent.Names
	c.Parent = r.Parent
	c.tokenText, c.loginText = r.Parent.String(), c.tokenText
	if !parent.Expires.IsZero() && parent.Expires.Before(c.until) {
		c.until = parent.Expires
	}
	return nil
}

func (v *view) activeUser(id ID) error {
	u, err := v.user(id)
	if errors.Is(err, ErrUserNotFound) || (err == nil && u.Inactive) {
		return ErrUserInactive
	}
	return err
}

func (k *Keep) sessionHash(value string) record.Hash { return k.records.Hash("session", value) }

// AuthenticateSession finds the caller behind a session's key, and gives the
// session more time when it is near its end.
func (k *Keep) AuthenticateSession(ctx context.Context, o Origin, value string) (Caller, error) {
	c := Anonymous(o)
	if err := k.audible(&c, "authenticate", 0); err != nil {
		return c, err
	}
	renew := false
	epoch := k.callers.epoch()
	err := k.peek(ctx, func(v *view) error {
		if value == "" {
			return ErrUnauthenticated
		}
		h := k.sessionHash(value)
		r, err := v.session(h)
		if err != nil {
			return err
		}
		if k.clock.After(r.Wall) {
			return ErrUnauthenticated
		}
		if err := v.activeUser(r.User); err != nil {
			return err
		}
		perms, err := v.sessionPermissions(r.User, epoch)
		if err != nil {
			return err
		}
		// In steps, so that not every request of the last minutes writes.
		renew = r.Expires.Sub(v.Now) < renewBefore-renewBefore/10
		c = Caller{Origin: o, User: r.User, session: h, hasSession: true, permissions: perms, expires: r.Expires, userText: r.User.String()}
		return nil
	})
	if err == nil && renew {
		err = k.renewSession(ctx, c.session)
	}
	if err != nil {
		return Anonymous(o), k.finish(c.record("authenticate", 0), k.now(), domain(err))
	}
	return c, nil
}

// session returns a session that has not ended, or ErrUnauthenticated.
func (v *view) session(h record.Hash) (*sessionRecord, error) {
	r, err := record.Load[sessionRecord](v.Reader, record.HashKey(record.TableSession, h))
	if err != nil {
		return nil, err
	}
	if r == nil || !v.Now.Before(r.Expires) {
		return nil, ErrUnauthenticated
	}
	entry, err := record.Load[entryRecord](v.Reader, record.SessionOfKey(r.User, h))
	if err != nil {
		return nil, err
	}
	if entry == nil { // signed out, and one record put back
		return nil, ErrUnauthenticated
	}
	return r, record.CheckRevisions(record.HashKey(record.TableSession, h), r.Revision, entry.Revision)
}

func (t *tx) putSession(h record.Hash, r *sessionRecord) error {
	if err := t.w.PutJSON(record.SessionOfKey(r.User, h), entryRecord{Revision: r.Revision}); err != nil {
		return err
	}
	return t.w.PutJSON(record.HashKey(record.TableSession, h), r)
}

func (t *tx) deleteSession(h record.Hash, user ID) error {
	if err := t.w.Delete(record.SessionOfKey(user, h)); err != nil {
		return err
	}
	return t.w.Delete(record.HashKey(record.TableSession, h))
}

// endSessions signs a user out everywhere, but for one session.
func (t *tx) endSessions(user ID, except record.Hash) error {
	var hashes []record.Hash
	prefix := record.Key(record.TableSessionOf, user)
	err := t.ScanPrefix(prefix, func(k, _ []byte) (bool, error) {
		if h := k[len(prefix):]; len(h) == len(except) && record.Hash(h) != except {
			hashes = append(hashes, record.Hash(h))
		}
		return true, nil
	})
	for _, h := range hashes {
		if err == nil {
			err = t.deleteSession(h, user)
		}
	}
	return err
}

func (k *Keep) renewSession(ctx context.Context, h record.Hash) error {
	return k.quietly(ctx, func(t *tx) error {
		r, err := t.session(h)
		if err != nil {
			return err
		}
		renewed := *r
		renewed.Revision++
		renewed.Expires, renewed.Wall = t.Now.Add(renewBefore), k.clock.Wall()
		return t.putSession(h, &renewed)
	})
}

// sessionPermissions is userPermissions, remembered as long as the directory
// stays as it is: to find a user's tokens takes a look at all tokens.
func (v *view) sessionPermissions(id ID, epoch uint64) (acl.Set, error) {
	users := v.k.callers.users
	if known, ok := users.Get(id); ok && epoch != 0 && known.epoch == epoch {
		return known.permissions, nil
	}
	s, err := v.userPermissions(id)
	if err == nil && epoch != 0 && v.k.records.Exclusive() {
		users.Put(id, knownUser{epoch, s})
	}
	return s, err
}

// userPermissions returns what a user's session may do: what the memberships
// give, what the active tokens in the user's name give, whoever made them, and
// the user's own account.
func (v *view) userPermissions(id ID) (acl.Set, error) {
	u, err := v.user(id)
	if err != nil {
		return nil, err
	}
	var s acl.Set
	if u.Owner {
		s = append(s, acl.Everything()...)
	}
	err = v.memberships(id, func(org ID, role Role) error {
		if role == Owner {
			s = append(s, acl.Owner(org)...)
		} else {
			s = append(s, acl.Member(org)...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = v.ScanIDs(record.TableToken, func(token ID) error {
		r, err := v.token(token)
		if err != nil {
			return err
		}
		// A token that is limited in time or names gives a session nothing.
		if r.User == id && !r.Inactive && r.Parent == 0 && r.Expires.IsZero() && len(r.Names) == 0 {
			s = append(s, toSet(r.Permissions)...)
		}
		return nil
	})
	return append(s, acl.Self(id)...), err
}

// Session is a user's sign-in.
type Session struct {
	Key     string // shown once; only a keyed hash of it is kept
	Expires time.Time
}

// SignIn makes a session for a user with the right password. The session of an
// inactive user can do nothing. Every refusal is ErrUnauthenticated, takes as
// long as any other, and says nothing, except for a right password that is no
// longer allowed; too many attempts are CodeTooMany.
func (k *Keep) SignIn(ctx context.Context, c Caller, name, password string) (Session, error) {
	rec := c.record("sessions.create", 0)
	refuse := func(err error) (Session, error) { return Session{}, k.finish(rec, k.now(), domain(err)) }
	a := attempt{k.records.Hash("limiter", name), c.Origin.network()}
	lane, err := k.attempt(ctx, a, "sign in")
	if err != nil {
		return refuse(err)
	}
	var user ID
	err = k.peek(ctx, func(v *view) (err error) {
		user, err = v.userByName(name)
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
	s := Session{Key: newTokenValue()}
	err = k.update(ctx, rec, func(t *tx) error {
		rec.User = user.String()
		if _, err := t.user(user); err != nil {
			if errors.Is(err, ErrUserNotFound) {
				return ErrUnauthenticated // deleted since the password was compared
			}
			return err
		}
		if err := checkPassword(password); err != nil {
			return errorf(CodeForbidden, "password change required\n%s", err)
		}
		s.Expires = t.Now.Add(k.sessionLength)
		return t.putSession(k.sessionHash(s.Key), &sessionRecord{User: user, Created: t.Now, Expires: s.Expires, Wall: k.clock.Wall()})
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
		r, err := t.session(h)
		if err != nil {
			return err
		}
		rec.User = r.User.String()
		return t.deleteSession(h, r.User)
	})
}

// sweepExpired removes what has expired, now and then.
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
			k.logger.Warn("expired sessions stay for now", "error", err)
		}
	}
}

// removeExpired removes the sessions and the login tokens that have ended.
func (k *Keep) removeExpired(ctx context.Context) error {
	var sessions map[record.Hash]ID // and their users
	var tokens []ID
	err := k.peek(ctx, func(v *view) (err error) {
		if sessions, err = v.expiredSessions(); err == nil {
			tokens, err = v.expiredLogins()
		}
		return err
	})
	if err != nil || len(sessions)+len(tokens) == 0 {
		return err
	}
	return k.quietly(ctx, func(t *tx) error {
		for h, user := range sessions {
			if err := t.deleteSession(h, user); err != nil {
				return err
			}
		}
		for _, id := range tokens {
			r, err := t.token(id)
			if errors.Is(err, ErrTokenNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := t.deleteToken(id, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v *view) expiredSessions() (map[record.Hash]ID, error) {
	users := make(map[record.Hash]ID)
	err := v.ScanPrefix(record.Key(record.TableSession), func(key, sealed []byte) (bool, error) {
		var r sessionRecord
		if err := v.OpenJSON(key, sealed, &r); err != nil {
			return false, err
		}
		h, _, ok := sessionKey(key)
		if !ok {
			return false, record.Damaged(key, errors.New("its key is of another length"))
		}
		if !v.Now.Before(r.Expires) {
			users[h] = r.User
		}
		return true, nil
	})
	return users, err
}

func (v *view) expiredLogins() ([]ID, error) {
	var ids []ID
	err := v.ScanIDs(record.TableToken, func(id ID) error {
		r, err := v.token(id)
		if err == nil && r.Parent != 0 && r.expired(v.Now) {
			ids = append(ids, id)
		}
		return err
	})
	return ids, err
}
