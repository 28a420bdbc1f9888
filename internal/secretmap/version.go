package secretmap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// The records of an organization's versioned map:
//
//	head     one, rewritten with each version: which map, current and oldest version
//	state    one, rewritten rarely: settings; which versions are deleted, destroyed, pinned
//	version  one per existing version, never rewritten: time, actor, changed names
//	secret   one per change of a name, never rewritten: its value, or a tombstone
//
// A version shows, for each name, the newest secret record that is not newer
// than the version. A map that was deleted with all its versions gets a new
// ID, so no record of the old map fits into the new one.

type headRecord struct {
	Map     ID     `json:"map"`
	Current uint64 `json:"current"` // 0: no version yet
	Oldest  uint64 `json:"oldest"`  // the oldest existing version that isn't pinned
	// Full is set once max_versions versions have been written.
	Full bool `json:"full,omitempty"`
	// Floor is the oldest version whose records still exist, so that a write
	// based on a recent read can be merged; see prune.
	Floor uint64 `json:"floor"`
	// All records needed only by versions below Swept are removed. SweptParts
	// counts the swept parts of the next version.
	Swept      uint64 `json:"swept"`
	SweptParts uint32 `json:"parts,omitempty"`
	// Large is the newest version whose changes are in separate records.
	Large uint64 `json:"large,omitempty"`
	Count int    `json:"count"` // names in the current version
	// StateRevision is the revision of the state record, or 0 without one.
	StateRevision uint64    `json:"state,omitempty"`
	Created       time.Time `json:"created"`
	Updated       time.Time `json:"updated"`
	// ByID is the author's of the write that created the map.
	ByID bool `json:"by_id,omitempty"`
	// Sparse is the newest version for which records implied by the history
	// may be missing, because a sweep of the whole map removed them.
	Sparse uint64 `json:"sparse,omitempty"`
	// Sums are those of the map's records and the state.
	Sums record.MapSums `json:"sums"`
}

type stateRecord struct {
	Revision            uint64               `json:"rev"`
	MaxVersions         int                  `json:"max,omitempty"`
	CASRequired         bool                 `json:"cas,omitempty"`
	DeleteVersionAfter  time.Duration        `json:"after,omitempty"`
	Custom              map[string]string    `json:"custom,omitempty"`
	MetadataVersion     uint64               `json:"meta,omitempty"`
	MetadataCASRequired bool                 `json:"metacas,omitempty"`
	Deleted             map[uint64]time.Time `json:"deleted,omitempty"`   // when each version is, or will be, hidden
	Destroyed           []uint64             `json:"destroyed,omitempty"` // sorted
	Pinned              []uint64             `json:"pinned,omitempty"`    // sorted
}

type versionRecord struct {
	Time     time.Time `json:"time"`
	User     ID        `json:"user,omitzero"`
	Token    ID        `json:"token,omitzero"`
	Protocol Protocol  `json:"protocol"`
	From     uint64    `json:"from,omitempty"` // the version that this one rolled back to
	Merged   uint64    `json:"merged,omitempty"`
	Count    int       `json:"count"` // names in this version
	Changes  []change  `json:"changes,omitempty"`
	Chunks   uint32    `json:"chunks,omitempty"` // number of separate records with further changes
}

// change is what a version does to one name.
type change struct {
	Name string `json:"n"`
	Op   op     `json:"o"`
	// Before is the version of the value that this change supersedes, or 0.
	Before uint64 `json:"b,omitempty"`
	// Earlier is how many records the name has had before, at most: some may be
	// unknown or already removed.
	Earlier uint64 `json:"e,omitempty"`
	// hash is the cached hash of the name.
	hash record.Hash
}

type op string

const (
	opAdd    op = "+"
	opChange op = "~"
	opRemove op = "-"
	// opMask removes a name that was already invisible, because the previous
	// version was deleted. No caller asked for that change.
	opMask op = "x"
)

// kind returns the kind of the name's secret record.
func (o op) kind() byte {
	switch o {
	case opRemove:
		return kindRemoved
	case opMask:
		return kindMasked
	}
	return kindValue
}

// DefaultMaxVersions is the default number of versions.
const DefaultMaxVersions = 10

func (s *stateRecord) maxVersions() int {
	if s.MaxVersions > 0 {
		return s.MaxVersions
	}
	return DefaultMaxVersions
}

// hidden reports whether a version shows nothing: deleted or destroyed.
func (s *stateRecord) hidden(v uint64, now time.Time) bool {
	at, deleted := s.Deleted[v]
	return s.destroyed(v) || (deleted && !now.Before(at))
}

// ends reports whether values end with a version: it is destroyed, deleted, or
// will be deleted.
func (s *stateRecord) ends(v uint64) bool {
	_, deleted := s.Deleted[v]
	return deleted || s.destroyed(v)
}

func (s *stateRecord) destroyed(v uint64) bool {
	_, found := slices.BinarySearch(s.Destroyed, v)
	return found
}

func (s *stateRecord) pinned(v uint64) bool {
	_, found := slices.BinarySearch(s.Pinned, v)
	return found
}

func (s *stateRecord) clone() *stateRecord {
	c := *s
	c.Deleted = make(map[uint64]time.Time, len(s.Deleted))
	for v, at := range s.Deleted {
		c.Deleted[v] = at
	}
	c.Destroyed, c.Pinned = slices.Clone(s.Destroyed), slices.Clone(s.Pinned)
	return &c
}

func insert(sorted []uint64, v uint64) []uint64 {
	at, found := slices.BinarySearch(sorted, v)
	if found {
		return sorted
	}
	return slices.Insert(sorted, at, v)
}

func remove(sorted []uint64, v uint64) []uint64 {
	if at, found := slices.BinarySearch(sorted, v); found {
		return slices.Delete(sorted, at, at+1)
	}
	return sorted
}

// empty reports whether nothing is visible: there is no version yet, or the
// current one is hidden.
func (h *headRecord) empty(s *stateRecord, now time.Time) bool {
	return h.Current == 0 || s.hidden(h.Current, now)
}

// kept reports whether a version exists.
func (h *headRecord) kept(s *stateRecord, v uint64) bool {
	return v > 0 && v <= h.Current && (v >= h.Oldest || s.pinned(v))
}

// none reports whether there are neither versions nor settings.
func (h *headRecord) none() bool { return h.Current == 0 && h.StateRevision == 0 }

// versions lists the versions that exist, oldest first.
func (h *headRecord) versions(s *stateRecord) []uint64 {
	var out []uint64
	for _, p := range s.Pinned {
		if p < h.Oldest {
			out = append(out, p)
		}
	}
	for v := max(h.Oldest, 1); v <= h.Current; v++ {
		out = append(out, v)
	}
	return out
}

// mapState is the state that a head record points to.
type mapState struct {
	record.Counted
	head  *headRecord
	state *stateRecord
}

func newMapState() *mapState { return &mapState{head: &headRecord{}, state: &stateRecord{}} }

// head returns the head and state of an organization's map. Both are new and
// empty if nothing was ever written. The state is never written without the
// head, so a cached state is valid while the head is the same.
func (v *view) head(org ID) (*mapState, error) {
	if err := v.r.TrustMap(org); err != nil {
		return nil, err
	}
	revision := v.r.Revision(record.TableHead)
	if revision != 0 {
		if seen, ok := v.maps.heads.Get(org); ok && seen.revision == revision {
			return seen.mapState, nil
		}
	}
	m, err := v.mapState(org)
	if err != nil {
		return nil, err
	}
	if revision != 0 {
		v.maps.heads.Put(org, seenHead{m, revision})
	}
	return m, nil
}

// seenHead is a head at one revision of the table.
type seenHead struct {
	*mapState
	revision uint64
}

func (v *view) mapState(org ID) (*mapState, error) {
	k := record.Key(record.TableHead, org)
	m, err := record.LoadFunc(v.r, k, func(plain []byte) (*mapState, error) {
		m := newMapState()
		if err := json.Unmarshal(plain, m.head); err != nil {
			return nil, record.Damaged(k, err)
		}
		if err := v.checkHead(org, m.head); err != nil {
			return nil, err
		}
		s, err := record.Load[stateRecord](v.r, record.Key(record.TableState, org))
		if err != nil {
			return nil, err
		}
		if s != nil {
			m.state = s
		}
		return m, record.CheckRevisions(record.Key(record.TableState, org), m.head.StateRevision, m.state.Revision)
	})
	if err == nil && m == nil {
		m = newMapState()
	}
	return m, err
}

// checkHead refuses a head that is older than its versions: an older copy was
// put back.
func (v *view) checkHead(org ID, h *headRecord) error {
	if h.Current == 0 {
		return nil // only settings were ever written
	}
	k := record.Key(record.TableHead, org)
	if ok, err := v.r.Has(record.VersionKey(h.Map, h.Current)); err != nil {
		return err
	} else if !ok {
		return record.Damaged(k, fmt.Errorf("version %d is missing", h.Current))
	}
	newer, err := v.r.Has(record.VersionKey(h.Map, h.Current+1))
	if newer {
		return record.Damaged(k, fmt.Errorf("it says %d, but there is a version %d", h.Current, h.Current+1))
	}
	return err
}

// recentVersion is version for writes, and only for versions that others were
// built on since. If one process writes all versions, a cached version is what
// it wrote last, and needs no second check.
func (w *Writer) recentVersion(m ID, n uint64) (*versionRecord, error) {
	if w.r.DB().Exclusive() {
		if known, ok := w.maps.versions.Get(mapVersion{m, n}); ok {
			return known, nil
		}
	}
	return w.version(m, n)
}

// mapVersion identifies a version of a map.
type mapVersion struct {
	m ID
	n uint64
}

// version returns the record of a version.
func (v *view) version(m ID, n uint64) (*versionRecord, error) {
	r := &versionRecord{}
	return r, v.r.RequireJSON(record.VersionKey(m, n), r)
}

// versionInfo returns a version's record without its changes. The record is
// shared: it must not be changed.
func (v *view) versionInfo(m ID, n uint64) (*versionRecord, error) {
	k := record.VersionKey(m, n)
	r, err := record.LoadFunc(v.r, k, func(plain []byte) (*versionRecord, error) {
		r := &versionRecord{}
		if err := json.Unmarshal(plain, r); err != nil {
			return nil, record.Damaged(k, err)
		}
		r.Changes = nil
		return r, nil
	})
	if err == nil && r == nil {
		err = record.Damaged(k, store.ErrNotFound)
	}
	return r, err
}

// changesPerChunk limits the size of records to well below a store's limits.
// It is also how many names one write sweeps.
const changesPerChunk = sweptNames

func (w *Writer) putVersion(m ID, n uint64, r versionRecord, changes []change) error {
	r.Changes = changes
	if len(changes) > changesPerChunk {
		r.Changes = nil
		for part := range slices.Chunk(changes, changesPerChunk) {
			if err := w.tx.PutJSON(record.ChangesKey(m, n, r.Chunks), part); err != nil {
				return err
			}
			r.Chunks++
		}
	}
	if w.r.DB().Exclusive() {
		w.maps.versions.Put(mapVersion{m, n}, &r)
	}
	return w.tx.Put(record.VersionKey(m, n), r.appendJSON(make([]byte, 0, 256)))
}

// changes returns all changes of a version.
func (v *view) changes(m ID, n uint64) ([]change, error) {
	r, err := v.version(m, n)
	if err != nil {
		return nil, err
	}
	return v.allChanges(m, n, r)
}

func (v *view) allChanges(m ID, n uint64, r *versionRecord) ([]change, error) {
	out := r.Changes
	for i := range r.Chunks {
		part, err := v.changesIn(m, n, i)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// changesIn returns one part of the changes of a large version.
func (v *view) changesIn(m ID, n uint64, chunk uint32) ([]change, error) {
	var part []change
	err := v.r.RequireJSON(record.ChangesKey(m, n, chunk), &part)
	return part, err
}

func (w *Writer) deleteVersion(n uint64) error {
	w.maps.versions.Delete(mapVersion{w.head.Map, n})
	if err := w.remove(record.VersionKey(w.head.Map, n), n); err != nil || n > w.head.Large {
		return err
	}
	var chunks [][]byte
	err := w.r.ScanPrefix(record.ChangesPrefix(w.head.Map, n), func(key, _ []byte) (bool, error) {
		chunks = append(chunks, bytes.Clone(key))
		return true, nil
	})
	for _, key := range chunks {
		if err == nil {
			err = w.tx.Remove(key)
		}
	}
	return err
}

// remove removes a record that version n wrote. Looking for it costs as much
// as removing it, so it only does so if the record may already be removed.
func (w *Writer) remove(key []byte, n uint64) error {
	if n <= w.head.Sparse {
		return w.tx.Delete(key)
	}
	return w.tx.Remove(key)
}
