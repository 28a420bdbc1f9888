package directory

import (
	"cmp"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// renewBefore is how long before its end a session in use is extended, as in
// InfluxDB.
const renewBefore = 5 * time.Minute

// Session is a sign-in: a user's with a password, or one with a token. The latter
// has the token's permissions, and ends with it.
type Session struct {
	User    ID // 0 if signed in with a token
	Token   ID // 0 if signed in with a password
	Created time.Time
	Expires time.Time
	Wall    time.Time // the system clock at creation or renewal
}

// Due reports whether a session in use should be renewed now. Renewal happens in
// steps, so not every request in the last minutes writes.
func (s *Session) Due(now time.Time) bool {
	return s.Expires.Sub(now) < renewBefore-renewBefore/10
}

// SessionHash returns the hash under which the session with a key is stored.
func SessionHash(db *record.DB, key string) Hash { return db.Hash("session", key) }

// session returns the record of a session, or ErrUnauthenticated if it is unknown
// or expired.
func (d Reader) session(h Hash) (*sessionRecord, error) {
	key := record.HashKey(record.TableSession, h)
	r, err := record.Load[sessionRecord](d.r, key)
	if err != nil {
		return nil, err
	}
	if r == nil || !d.r.Now.Before(r.Expires) {
		return nil, ErrUnauthenticated
	}
	entry, err := record.Load[entryRecord](d.r, record.SessionOfKey(r.owner(), h))
	if err != nil {
		return nil, err
	}
	if entry == nil { // signed out, then one record was restored from a copy
		return nil, ErrUnauthenticated
	}
	return r, record.CheckRevisions(key, r.Revision, entry.Revision)
}

// Session returns a session, or ErrUnauthenticated if it is unknown or expired.
func (d Reader) Session(h Hash) (Session, error) {
	r, err := d.session(h)
	if err != nil {
		return Session{}, err
	}
	return r.session(), nil
}

func (r *sessionRecord) session() Session {
	return Session{User: r.User, Token: r.Token, Created: r.Created, Expires: r.Expires, Wall: r.Wall}
}

func (d Writer) putSession(h Hash, r sessionRecord) error {
	if err := d.w.PutJSON(record.SessionOfKey(r.owner(), h), entryRecord{Revision: r.Revision}); err != nil {
		return err
	}
	return d.w.PutJSON(record.HashKey(record.TableSession, h), r)
}

// AddSession signs somebody in.
func (d Writer) AddSession(h Hash, s Session) error {
	return d.putSession(h, sessionRecord{User: s.User, Token: s.Token, Created: s.Created, Expires: s.Expires, Wall: s.Wall})
}

// RenewSession extends a session, or returns ErrUnauthenticated.
func (d Writer) RenewSession(h Hash, wall time.Time) error {
	r, err := d.session(h)
	if err != nil {
		return err
	}
	renewed := *r
	renewed.Revision++
	renewed.Expires, renewed.Wall = d.r.Now.Add(renewBefore), wall
	return d.putSession(h, renewed)
}

// EndSession ends a session of a user or a token.
func (d Writer) EndSession(h Hash, owner ID) error {
	if err := d.w.Delete(record.SessionOfKey(owner, h)); err != nil {
		return err
	}
	return d.w.Delete(record.HashKey(record.TableSession, h))
}

// EndSessions signs a user out everywhere, except for one session.
func (d Writer) EndSessions(user ID, except Hash) error {
	var hashes []Hash
	prefix := record.Key(record.TableSessionOf, user)
	err := d.r.ScanPrefix(prefix, func(k, _ []byte) (bool, error) {
		if h := k[len(prefix):]; len(h) == len(except) && Hash(h) != except {
			hashes = append(hashes, Hash(h))
		}
		return true, nil
	})
	for _, h := range hashes {
		if err == nil {
			err = d.EndSession(h, user)
		}
	}
	return err
}

// sessionKey parses a key. Only the lookup entry's key includes the user.
func sessionKey(k []byte) (h Hash, user ID, ok bool) {
	switch {
	case record.TableOf(k) == record.TableSession && len(k) == 1+len(h):
		copy(h[:], k[1:])
	case record.TableOf(k) == record.TableSessionOf && len(k) == 9+len(h):
		copy(h[:], k[9:])
		user, _ = record.IDAt(k, 1)
	default:
		return h, 0, false
	}
	return h, user, true
}

// Owner returns the user or the token whose session it is.
func (s *Session) Owner() ID {
	return cmp.Or(s.Token, s.User)
}

// Expired lists expired sessions, and login tokens that can't be used any more.
type Expired struct {
	sessions []sessionOf
	logins   []ID
}

type sessionOf struct {
	hash  Hash
	owner ID
}

// Empty reports whether nothing has expired.
func (e *Expired) Empty() bool { return len(e.sessions)+len(e.logins) == 0 }

// Take removes up to n entries from e and returns them.
func (e *Expired) Take(n int) *Expired {
	sessions := min(n, len(e.sessions))
	logins := min(n-sessions, len(e.logins))
	some := &Expired{e.sessions[:sessions], e.logins[:logins]}
	e.sessions, e.logins = e.sessions[sessions:], e.logins[logins:]
	return some
}

// Expired finds expired sessions, and login tokens that have expired or depend on a
// token that was deleted. valid counts the other login tokens by the token that they
// represent.
func (d Reader) Expired() (e *Expired, valid map[ID]int, err error) {
	e = new(Expired)
	err = d.r.ScanPrefix(record.Key(record.TableSession), func(key, sealed []byte) (bool, error) {
		var r sessionRecord
		if err := d.r.OpenJSON(key, sealed, &r); err != nil {
			return true, d.SkipDamaged(err)
		}
		h, _, ok := sessionKey(key)
		if !ok {
			return false, record.Damaged(key, errors.New("its key is of another length"))
		}
		if !d.r.Now.Before(r.Expires) {
			e.sessions = append(e.sessions, sessionOf{h, r.owner()})
		}
		return true, nil
	})
	if err != nil {
		return nil, nil, err
	}
	parents := map[ID]ID{} // of all tokens; 0 if it is no login token
	var logins []ID        // that haven't expired
	err = d.EachToken(func(t Token) error {
		parents[t.ID] = t.Parent
		switch {
		case t.Parent == 0:
		case t.Expired(d.r.Now):
			e.logins = append(e.logins, t.ID)
		default:
			logins = append(logins, t.ID)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	valid = map[ID]int{}
	orphans := map[ID][]ID{} // by the token that they depend on and that wasn't read
	for _, id := range logins {
		top := id
		for range maxAncestors {
			if parents[top] != 0 {
				top = parents[top]
			}
		}
		if _, ok := parents[top]; ok {
			valid[top]++
		} else {
			orphans[top] = append(orphans[top], id)
		}
	}
	for top, ids := range orphans {
		if _, terr := d.token(top); errors.Is(terr, ErrTokenNotFound) { // not if it is damaged
			e.logins = append(e.logins, ids...)
		} else {
			err = errors.Join(err, d.SkipDamaged(terr))
		}
	}
	return e, valid, err
}

// RemoveExpired removes the sessions and login tokens that Expired found.
func (d Writer) RemoveExpired(e *Expired) error {
	for _, s := range e.sessions {
		if err := d.EndSession(s.hash, s.owner); err != nil {
			return err
		}
	}
	for _, id := range e.logins {
		if err := d.DeleteToken(id); err != nil && !errors.Is(err, ErrTokenNotFound) {
			return err
		}
	}
	return nil
}
