package keep

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// activity remembers the last reads of secrets and the last uses of tokens. A read only
// changes a map in memory. Once a minute, the changes are merged into one record for each
// organization. Other servers may have changed that record too: the later time counts. So
// a crash loses at most a minute, and memory holds no more than the reads of two minutes.
type activity struct {
	// period counts the saves. An Identity that has been noted in this period isn't
	// noted again, so the time of a token's last use may be up to a minute early.
	period atomic.Uint64

	mu     sync.Mutex
	recent map[ID]*seen // by organization, since the last save
	size   int          // reads of single secrets in recent
	// taken is what the last save took. It stays until the next one, for transactions
	// that don't see that save.
	taken map[ID]*seen
}

const (
	maxRecent = 50_000 // reads of single secrets in memory; further ones are forgotten
	maxReads  = 8_000  // in the record of one organization
	maxUses   = 8_000  // in the record of one organization
)

// seen is what was seen in one organization.
type seen struct {
	reads map[reading]lastRead
	uses  map[ID]lastUse // by token
}

// reading is what was read, by a token or, if that is zero, by a user's session.
type reading struct {
	token, user ID
	name        string // "" for all secrets that the reader sees
}

type lastRead struct {
	in       ID // the map
	at       time.Time
	version  uint64
	protocol Protocol
}

type lastUse struct {
	at       time.Time
	protocol Protocol
}

func newActivity() *activity {
	a := &activity{}
	a.period.Store(1)
	return a
}

// org returns what was recently seen in an organization. The caller holds mu.
func (a *activity) org(id ID) *seen {
	s := a.recent[id]
	if s == nil {
		s = &seen{map[reading]lastRead{}, map[ID]lastUse{}}
		if a.recent == nil {
			a.recent = map[ID]*seen{}
		}
		a.recent[id] = s
	}
	return s
}

// noteUse remembers that a token was used, if the identity is a token's.
func (a *activity) noteUse(i *directory.Identity, p Protocol, now func() time.Time) {
	if i.Token == 0 || i.Inactive || i.Noted.Load() == a.period.Load() {
		return
	}
	token, use := i.Token, lastUse{now(), p}
	if i.Parent != 0 {
		token = i.Parent
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.org(i.Org).uses[token] = use
	i.Noted.Store(a.period.Load())
}

// noteRead remembers that the caller read secrets; nil names are all that it sees.
func (a *activity) noteRead(c *Caller, org ID, r lastRead, names []string) {
	by := reading{token: c.actor()}
	if by.token == 0 {
		if by.user = c.User; by.user == 0 {
			return // a command on the data folder
		}
	}
	if names == nil {
		names = everything
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.org(org)
	for _, by.name = range names {
		a.add(s, by, r)
	}
}

// add adds a read, which is forgotten if there are too many. The caller holds mu.
func (a *activity) add(s *seen, by reading, r lastRead) {
	if _, ok := s.reads[by]; !ok && by.name != "" { // of everything: few for each reader
		if a.size >= maxRecent {
			return
		}
		a.size++
	}
	s.reads[by] = r
}

var everything = []string{""}

// take returns what is to be saved.
func (a *activity) take() map[ID]*seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken, a.recent, a.size = a.recent, nil, 0
	a.period.Add(1)
	return a.taken
}

// putBack takes back what can't be saved, as far as nothing newer was seen, so that the
// next save has it.
func (a *activity) putBack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, old := range a.taken {
		s := a.org(id)
		for by, r := range old.reads {
			if _, newer := s.reads[by]; !newer {
				a.add(s, by, r)
			}
		}
		for token, u := range old.uses {
			if _, newer := s.uses[token]; !newer {
				s.uses[token] = u
			}
		}
	}
}

// of returns a copy of what was seen in an organization and may not be saved yet.
func (a *activity) of(org ID) seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := seen{map[reading]lastRead{}, map[ID]lastUse{}}
	for _, from := range []*seen{a.taken[org], a.recent[org]} {
		if from != nil {
			maps.Copy(out.reads, from.reads)
			maps.Copy(out.uses, from.uses)
		}
	}
	return out
}

// activityRecord is what is stored for an organization.
type activityRecord struct {
	Map   ID           `json:"map,omitzero"` // that was read
	Reads []readRecord `json:"reads,omitempty"`
	Uses  []useRecord  `json:"uses,omitempty"`
}

// readRecord is the last read of a secret by a token or, if that is zero, by a user's
// session.
type readRecord struct {
	Token    ID       `json:"t,omitzero"`
	User     ID       `json:"u,omitzero"`
	Secret   string   `json:"s,omitempty"` // its reference; "" for all that the reader sees
	At       int64    `json:"a"`           // microseconds since 1970
	Version  uint64   `json:"v"`
	Protocol Protocol `json:"p"`
}

type useRecord struct {
	Token    ID       `json:"t"`
	At       int64    `json:"a"`
	Protocol Protocol `json:"p"`
}

// mergeReads merges the record's reads of a map with what was seen. Reads of everything
// come first, then reads of single secrets, the latest of each first. If there are too
// many, the last ones are dropped.
func (r *activityRecord) mergeReads(s seen, m *secretmap.Map, now time.Time) []readRecord {
	type key struct {
		token, user ID
		secret      string
	}
	all := map[key]readRecord{}
	add := func(r readRecord) {
		by := key{r.Token, r.User, r.Secret}
		if old, ok := all[by]; !ok || replaces(r.At, old.At, now) {
			all[by] = r
		}
	}
	if r.Map == m.ID() {
		for _, read := range r.Reads {
			add(read)
		}
	}
	reference := m.References()
	for by, read := range s.reads {
		if read.in != m.ID() {
			continue
		}
		secret := ""
		if by.name != "" {
			secret = reference(by.name)
		}
		add(readRecord{by.token, by.user, secret, read.at.UnixMicro(), read.version, read.protocol})
	}
	return latest(all, maxReads, func(a, b readRecord) int {
		if (a.Secret == "") != (b.Secret == "") {
			return cmp.Compare(a.Secret, b.Secret)
		}
		return cmp.Compare(b.At, a.At)
	})
}

// mergeUses returns the last uses of tokens, the latest first, as mergeReads does.
func (r *activityRecord) mergeUses(s seen, now time.Time) []useRecord {
	all := map[ID]useRecord{}
	add := func(u useRecord) {
		if old, ok := all[u.Token]; !ok || replaces(u.At, old.At, now) {
			all[u.Token] = u
		}
	}
	for _, use := range r.Uses {
		add(use)
	}
	for token, use := range s.uses {
		add(useRecord{token, use.at.UnixMicro(), use.protocol})
	}
	return latest(all, maxUses, func(a, b useRecord) int { return cmp.Compare(b.At, a.At) })
}

// replaces reports whether something that was seen at one time replaces what was seen
// at another: if it is later, or if the other time comes from a clock that was ahead.
func replaces(at, old int64, now time.Time) bool { return at >= old || old > now.UnixMicro() }

// latest returns the first values of a map in an order, at most limit.
func latest[K comparable, V any](all map[K]V, limit int, order func(a, b V) int) []V {
	list := slices.SortedFunc(maps.Values(all), order)
	return list[:min(len(list), limit)]
}

// activity returns what is stored for an organization, and what was seen since.
func (v *view) activity(org ID) (*activityRecord, seen, error) {
	r, err := record.Load[activityRecord](v.Reader, record.Key(record.TableActivity, org))
	if r == nil {
		r = &activityRecord{}
	}
	return r, v.k.activity.of(org), err
}

// saveBatch is the number of organizations whose activity is saved in one transaction.
const saveBatch = 100

// saveActivity saves what was seen since the last save.
func (k *Keep) saveActivity(ctx context.Context) error {
	all := k.activity.take()
	var err error
	for orgs := range slices.Chunk(slices.Sorted(maps.Keys(all)), saveBatch) {
		err = k.updateUnaudited(ctx, func(t *tx) error {
			for _, org := range orgs {
				if err := t.addActivity(org, *all[org]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			k.activity.putBack()
			break
		}
	}
	return err
}

// addActivity merges what was seen into an organization's record, unless the
// organization was deleted or is damaged.
func (t *tx) addActivity(org ID, s seen) error {
	_, err := t.dir.Organization(org)
	if err != nil {
		return t.skipActivity(err)
	}
	m, err := t.k.maps.Read(t.Reader, org)
	if err != nil {
		return t.skipActivity(err)
	}
	stored, _, err := t.activity(org)
	if err != nil {
		return t.skipActivity(err)
	}
	merged := &activityRecord{m.ID(), stored.mergeReads(s, &m, t.Now), stored.mergeUses(s, t.Now)}
	plain, err := json.Marshal(merged)
	if err != nil {
		return err
	}
	return t.w.PutDecoded(record.Key(record.TableActivity, org), plain, merged)
}

func (t *tx) skipActivity(err error) error {
	if errors.As(err, new(*record.DamageError)) {
		t.k.foundDamage(err)
		return nil
	}
	if errors.Is(err, ErrOrganizationNotFound) {
		return nil
	}
	return err
}
