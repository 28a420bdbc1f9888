package directory

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// snapshot caches lookups at one revision of the directory. Any change to the
// directory makes a new revision, and so an empty snapshot.
type snapshot struct {
	revision uint64

	tokens *gencache.Cache[Hash, *Identity] // by the token's hash
	users  *gencache.Cache[ID, *Identity]   // for sessions
	orgs   *gencache.Cache[ID, *orgRecord]
	names  *gencache.Cache[string, ID] // organizations by FindOrganization's argument
}

func newSnapshot(revision uint64) *snapshot {
	return &snapshot{
		revision: revision,
		tokens:   gencache.New[Hash, *Identity](10_000),
		users:    gencache.New[ID, *Identity](1_000),
		orgs:     gencache.New[ID, *orgRecord](10_000),
		names:    gencache.New[string, ID](1_000),
	}
}

// tables are those that a snapshot depends on. Sessions aren't cached: users sign
// in too often, and finding a session takes only two reads.
var tables = []record.Table{
	record.TableOrg, record.TableOrgName, record.TableUser, record.TableUserName,
	record.TableToken, record.TableTokenHash, record.TableMember, record.TableMemberOf,
}

// snapshot returns the snapshot for the transaction's revision. Get it before
// reading what you add to it, so that ClearCache drops what was read earlier.
func (d Reader) snapshot() *snapshot { return d.d.at(d.r.Revision(tables...)) }

func (d *Directory) at(revision uint64) *snapshot {
	for {
		s := d.current.Load()
		if s != nil && s.revision == revision {
			return s
		}
		next := newSnapshot(revision)
		// A snapshot of an old state, or of one that isn't durable, isn't shared.
		if revision == 0 || s != nil && s.revision > revision || d.current.CompareAndSwap(s, next) {
			return next
		}
	}
}

// now returns the snapshot that a transaction starting now would use, nil if only
// a transaction can tell.
func (d *Directory) now() *snapshot {
	if s := d.current.Load(); s != nil && s.revision == d.db.Revision(tables...) {
		return s
	}
	return nil
}

// ClearCache drops all cached lookups.
func (d *Directory) ClearCache() { d.current.Store(nil) }

// KnownToken is TokenIdentity without a transaction. ok is false if the token
// isn't cached.
func (d *Directory) KnownToken(value string) (i *Identity, ok bool) {
	s := d.now()
	if s == nil {
		return nil, false
	}
	return s.token(tokenHash(d.db, value), d.db.Now())
}

// token returns the cached identity of a token, unless it must be looked up again.
func (s *snapshot) token(h Hash, now time.Time) (i *Identity, ok bool) {
	i, ok = s.tokens.Get(h)
	return i, ok && (i.until.IsZero() || now.Before(i.until))
}

// KnownOrganization is FindOrganization without a transaction. ok is false if the
// name isn't cached.
func (d *Directory) KnownOrganization(name string) (id ID, ok bool) {
	s := d.now()
	if s == nil {
		return 0, false
	}
	return s.names.Get(name)
}
