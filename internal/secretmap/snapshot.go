package secretmap

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// snapshot is the content of one version of a map: the visible names in byte
// order, and the version that wrote each value. It is immutable.
type snapshot struct {
	m       ID
	version uint64
	record  *versionRecord // without its changes
	names   []string
	written []uint64
	bytes   int64                        // in memory, without the values
	values  atomic.Pointer[sealedValues] // set on first use
}

// entry is a name visible in a version, and the version that wrote its value.
type entry struct {
	name    string
	version uint64
}

func (s *snapshot) add(e entry) {
	s.names, s.written = append(s.names, e.name), append(s.written, e.version)
	s.bytes += int64(len(e.name)) + entrySize
}

// entrySize is the memory that an entry takes in addition to the bytes of its
// name.
const entrySize = 32

// complete sets the fields that are the same for all names.
func (v *view) complete(s *snapshot) (*snapshot, error) {
	r, err := v.version(s.m, s.version)
	if err != nil {
		return nil, err
	}
	info := *r
	info.Changes = nil
	s.record = &info
	return s, nil
}

// snapshotCache is an LRU cache of the newest snapshots, with a limit in
// bytes. A snapshot is identified by map and version. Neither a version's
// content nor a map's ID ever changes its meaning, so a cached snapshot is
// never wrong, unless a store that servers share is put back to an older state;
// see cached. The head record, read each time, says which is current. Only durable
// reads are cached.
type snapshotCache struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	maps  map[ID]*list.Element // of *snapshot
	order list.List
}

func (c *snapshotCache) get(m ID) *snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.maps[m]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*snapshot)
}

func (c *snapshotCache) put(s *snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.maps[s.m]; ok {
		old := e.Value.(*snapshot)
		if old.version > s.version {
			return
		}
		c.drop(e)
	}
	if s.bytes > c.limit/2 {
		return
	}
	if c.maps == nil {
		c.maps = make(map[ID]*list.Element)
	}
	c.maps[s.m] = c.order.PushFront(s)
	c.bytes += s.bytes
	c.trim()
}

// grow accounts for memory added to a snapshot that may be in the cache.
func (c *snapshotCache) grow(s *snapshot, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.maps[s.m]; ok && e.Value.(*snapshot) == s {
		s.bytes += int64(bytes)
		c.bytes += int64(bytes)
		c.trim()
	}
}

func (c *snapshotCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maps, c.bytes = nil, 0
	c.order.Init()
}

func (c *snapshotCache) trim() {
	for c.bytes > c.limit {
		c.drop(c.order.Back())
	}
}

func (c *snapshotCache) drop(e *list.Element) {
	s := c.order.Remove(e).(*snapshot)
	delete(c.maps, s.m)
	c.bytes -= s.bytes
}

// cached returns the cached snapshot of the map, or nil. If the store is not this
// process's own, an operator may have put back an older state, after which a version
// can exist with another content. So the version must be the one that was read.
func (m *Map) cached() (*snapshot, error) {
	s := m.maps.snapshots.get(m.head.Map)
	if s == nil || m.r.DB().Exclusive() {
		return s, nil
	}
	k := record.VersionKey(s.m, s.version)
	if has, err := m.r.Has(k); err != nil || !has {
		return nil, err
	}
	is, err := m.versionInfo(s.m, s.version)
	if err != nil || !is.Time.Equal(s.record.Time) || is.User != s.record.User || is.Token != s.record.Token || is.Count != s.record.Count {
		return nil, err
	}
	return s, nil
}

// snapshot returns the content of a version.
func (m *Map) snapshot(at uint64) (*snapshot, error) {
	s, err := m.cached()
	switch {
	case err != nil:
		return nil, err
	case s != nil && s.version == at:
		return s, nil
	case s != nil && s.version < at && leads(m.head, m.state, s.version, at):
		s, err = m.advance(s, at)
	default:
		s, err = m.wholeSnapshot(at)
	}
	if err == nil && m.r.Durable() {
		m.maps.snapshots.put(s)
	}
	return s, err
}

// leads reports whether a version can be derived from an earlier one and the
// changes since. If a version in between was destroyed, records may be missing
// without a later trace.
func leads(h *headRecord, state *stateRecord, from, to uint64) bool {
	if from < h.Oldest || to-from > mergeVersions {
		return false
	}
	for n := from; n < to; n++ {
		if state.destroyed(n) {
			return false
		}
	}
	return true
}

// wholeSnapshot reads all records of the map, and so notices a missing one.
func (m *Map) wholeSnapshot(at uint64) (*snapshot, error) {
	var entries []entry
	var sum record.Sum
	memory := reservation{v: &m.view}
	err := m.scanSecrets(m.head.Map, at, func(key []byte) { m.r.Count(&sum, key) }, func(s secretRecord) error {
		entries = append(entries, entry{s.name, s.version})
		if err := memory.add(2*nameSize + len(s.name)); err != nil { // in entries, too
			return err
		}
		return m.r.Context().Err()
	})
	if err == nil {
		err = memory.flush()
	}
	if err != nil {
		return nil, err
	}
	// A writing transaction may have records that the head doesn't count yet.
	if m.r.Durable() && sum != m.head.Sums.Secrets {
		return nil, wrongSums(m.org)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	s := newSnapshot(m.head.Map, at, len(entries))
	for _, e := range entries {
		s.add(e)
	}
	return m.complete(s)
}

func newSnapshot(m ID, version uint64, size int) *snapshot {
	return &snapshot{m: m, version: version, names: make([]string, 0, size), written: make([]uint64, 0, size)}
}

// advance derives the snapshot of a later version from an earlier one and the
// changes between them.
func (v *view) advance(from *snapshot, to uint64) (*snapshot, error) {
	type step struct {
		change
		version uint64
	}
	var steps []step
	for n := from.version + 1; n <= to; n++ {
		changes, err := v.changes(from.m, n)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			steps = append(steps, step{c, n})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return compareNames(a.change, b.change) })
	s := newSnapshot(from.m, to, len(from.names)+len(steps))
	next := 0 // index into the names of from
	for i, c := range steps {
		if i+1 < len(steps) && steps[i+1].Name == c.Name {
			continue // the last one counts
		}
		for ; next < len(from.names) && from.names[next] < c.Name; next++ {
			s.add(entry{from.names[next], from.written[next]})
		}
		if next < len(from.names) && from.names[next] == c.Name {
			next++
		}
		if c.Op.kind() == kindValue {
			s.add(entry{c.Name, c.version})
		}
	}
	for ; next < len(from.names); next++ {
		s.add(entry{from.names[next], from.written[next]})
	}
	return v.complete(s)
}
