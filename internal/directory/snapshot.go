package directory

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// snapshot holds what was looked up at one revision of the directory. Any change
// of the directory makes another revision, and so an empty snapshot.
type snapshot struct {
	revision uint64

	tokens *gencache.Cache[Hash, *Identity] // by the hash of the token
	users  *gencache.Cache[ID, *Identity]   // for their sessions
	orgs   *gencache.Cache[ID, *orgRecord]
	names  *gencache.Cache[string, ID] // organizations by what FindOrganization was asked
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

// tables are those that a snapshot depends on. Sessions are not among them:
// users sign in too often, and finding a session takes two reads.
var tables = []record.Table{
	record.TableOrg, record.TableOrgName, record.TableUser, record.TableUserName,
	record.TableToken, record.TableTokenHash, record.TableMember, record.TableMemberOf,
}

// snapshot returns the snapshot of the state that the transaction reads. Get it
// before reading what you put into it: Forget then drops what was read before.
func (d Reader) snapshot() *snapshot { return d.d.at(d.r.Revision(tables...)) }

func (d *Directory) at(revision uint64) *snapshot {
	for {
		s := d.current.Load()
		if s != nil && s.revision == revision {
			return s
		}
		next := newSnapshot(revision)
		// Nobody else gets the snapshot of a state that is old, or that has
		// changes that are not durable.
		if revision == 0 || s != nil && s.revision > revision || d.current.CompareAndSwap(s, next) {
			return next
		}
	}
}

// now returns the snapshot of the state that a transaction that began now would
// read, nil when it takes a transaction to tell.
func (d *Directory) now() *snapshot {
	if s := d.current.Load(); s != nil && s.revision == d.db.Revision(tables...) {
		return s
	}
	return nil
}

// ClearCache makes everything be read from the store again.
func (d *Directory) ClearCache() { d.current.Store(nil) }

// KnownToken is TokenIdentity without a transaction. ok is false when one is
// needed.
func (d *Directory) KnownToken(value string, now time.Time) (i *Identity, ok bool) {
	s := d.now()
	if s == nil {
		return nil, false
	}
	i, ok = s.tokens.Get(tokenHash(d.db, value))
	return i, ok && (i.until.IsZero() || now.Before(i.until))
}

// KnownOrganization is FindOrganization without a transaction. ok is false when
// one is needed.
func (d *Directory) KnownOrganization(name string) (id ID, ok bool) {
	s := d.now()
	if s == nil {
		return 0, false
	}
	return s.names.Get(name)
}
