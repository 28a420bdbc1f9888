package keep

import (
	"bytes"
	"container/list"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// snapshot is what is visible in one version of a map: the names in byte
// order, each with its secret record as the store has it. It never changes.
type snapshot struct {
	m       ID
	version uint64
	record  *versionRecord // without its changes
	entries []entry
	names   []string // of entries, for those who see all
	bytes   int64
	values  atomic.Pointer[sealedValues] // once they were asked for
}

// complete fills in what does not depend on the entries' order of arrival.
func (v *view) complete(s *snapshot) (*snapshot, error) {
	r, err := v.version(s.m, s.version)
	if err != nil {
		return nil, err
	}
	info := *r
	info.Changes = nil
	s.record = &info
	s.names = make([]string, len(s.entries))
	for i, e := range s.entries {
		s.names[i] = e.name
	}
	return s, nil
}

type entry struct {
	name    string
	hash    hash
	version uint64 // in which the value was written
	sealed  []byte
}

// size is what an entry takes in memory, with its part of sealedValues.
func (e entry) size() int64 { return int64(len(e.name)+2*len(e.sealed)) + 64 }

// mapCache keeps the newest snapshots, those used last, up to a limit in
// bytes. A snapshot is identified by map and version, and neither a version's
// content nor a map's ID is ever used again for something else, so a cached
// one is never wrong; whether it is the current one the head record says,
// which is read each time. Only what was durable is put here.
type mapCache struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	maps  map[ID]*list.Element // of *snapshot
	order list.List
}

func (c *mapCache) get(m ID) *snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.maps[m]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*snapshot)
}

func (c *mapCache) put(s *snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.maps[s.m]; ok {
		old := e.Value.(*snapshot)
		if old.version >= s.version {
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
	for c.bytes += s.bytes; c.bytes > c.limit; {
		c.drop(c.order.Back())
	}
}

func (c *mapCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maps, c.bytes = nil, 0
	c.order.Init()
}

func (c *mapCache) drop(e *list.Element) {
	s := c.order.Remove(e).(*snapshot)
	delete(c.maps, s.m)
	c.bytes -= s.bytes
}

// secret finds what a name was in a version: the record's version, and its
// value. ok is false when the name was not there.
func (v *view) secret(m ID, name string, at uint64) (e entry, value string, ok bool, err error) {
	h := v.k.secretHash(m, name)
	prefix := secretPrefix(m, h)
	err = v.r.Scan(secretKey(m, h, at), store.PrefixEnd(prefix), func(k, sealed []byte) (bool, error) {
		e, value, ok, err = v.found(name, k, sealed)
		return false, err
	})
	return e, value, ok, err
}

// secretAt is secret for a name that was written in that very version; else
// it returns store.ErrNotFound.
func (v *view) secretAt(m ID, name string, version uint64) (e entry, value string, ok bool, err error) {
	k := secretKey(m, v.k.secretHash(m, name), version)
	sealed, err := v.r.Get(k)
	if err != nil {
		return entry{}, "", false, err
	}
	return v.found(name, k, sealed)
}

func (v *view) found(name string, k, sealed []byte) (e entry, value string, ok bool, err error) {
	_, version, _ := parseSecretKey(k)
	kind, has, value, err := v.openSecret(k, sealed)
	if err != nil {
		return entry{}, "", false, err
	}
	if has != name {
		return entry{}, "", false, damaged(describeKey(k), errors.New("it is of another name"))
	}
	return entry{name: has, version: version}, value, kind == kindValue, nil
}

func (v *view) openSecret(k, sealed []byte) (kind byte, name, value string, err error) {
	plain, err := v.open(k, sealed)
	if err != nil {
		return 0, "", "", err
	}
	kind, name, value, err = decodeSecret(plain)
	if err != nil {
		return 0, "", "", damaged(describeKey(k), err)
	}
	return kind, name, value, nil
}

// openEntry returns the value of an entry.
func (v *view) openEntry(m ID, e entry) (string, error) {
	v.key = appendSecretKey(v.key[:0], m, e.hash, e.version)
	plain, err := v.open(v.key, e.sealed)
	if errors.Is(err, seal.ErrUnknownKey) {
		// The snapshot is from before a rotation; the store has it anew.
		if now, gerr := v.r.Get(v.key); gerr == nil {
			plain, err = v.open(v.key, now)
		}
	}
	if err != nil {
		return "", err
	}
	_, _, value, ok := splitSecret(plain)
	if !ok {
		return "", damaged(describeKey(v.key), errSecretRecord)
	}
	return string(value), nil
}

// secretHash binds the hash to the map, so that equal names of two
// organizations can't be told from their keys.
func (k *Keep) secretHash(m ID, name string) hash {
	b := make([]byte, 0, 64)
	b = append(b, m.Bytes()...)
	b = append(b, name...)
	return k.keys.Load().Lookup("secret", b)
}

// scanVersion calls fn with each name visible in a version, in no useful
// order. The sealed bytes are good until fn returns.
func (v *view) scanVersion(m ID, at uint64, fn func(e entry, value string) error) error {
	var last hash
	have := false
	return v.r.Scan(key(tableSecret, m), key(tableSecret, m+1), func(k, sealed []byte) (bool, error) {
		h, version, ok := parseSecretKey(k)
		if !ok {
			return false, damaged(describeKey(k), errSecretRecord)
		}
		if version > at || (have && h == last) {
			return true, nil
		}
		last, have = h, true
		kind, name, value, err := v.openSecret(k, sealed)
		if err != nil || kind != kindValue {
			return err == nil, err
		}
		return true, fn(entry{name: name, hash: h, version: version, sealed: sealed}, value)
	})
}

// snapshot returns what is visible in a version. durable says that v reads
// what can't be taken back, so that the result may be remembered.
func (v *view) snapshot(h *headRecord, state *stateRecord, at uint64, durable bool) (*snapshot, error) {
	m := h.Map
	if cached := v.k.maps.get(m); cached != nil && cached.version <= at {
		if cached.version == at {
			return cached, nil
		}
		// What a destroyed version showed is no beginning for a later one.
		if at-cached.version <= 64 && h.kept(state, cached.version) && !state.destroyed(cached.version) {
			s, err := v.advance(cached, at)
			if err == nil && durable {
				v.k.maps.put(s)
			}
			// Records of destroyed versions may be missing in between.
			if !errors.Is(err, store.ErrNotFound) {
				return s, err
			}
		}
	}
	s := &snapshot{m: m, version: at}
	err := v.scanVersion(m, at, func(e entry, _ string) error {
		e.sealed = bytes.Clone(e.sealed)
		s.entries = append(s.entries, e)
		s.bytes += e.size()
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(s.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	if s, err = v.complete(s); err != nil {
		return nil, err
	}
	if durable {
		v.k.maps.put(s)
	}
	return s, nil
}

// advance makes the snapshot of a later version from an earlier one and the
// changes between them.
func (v *view) advance(from *snapshot, to uint64) (*snapshot, error) {
	s := &snapshot{m: from.m, version: to, entries: slices.Clone(from.entries), bytes: from.bytes}
	for n := from.version + 1; n <= to; n++ {
		changes, err := v.changes(s.m, n)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			if err := v.apply(s, c.Name, n, c.Op.kind() != kindValue); err != nil {
				return nil, err
			}
		}
	}
	return v.complete(s)
}

func (v *view) apply(s *snapshot, name string, n uint64, removed bool) error {
	at, found := slices.BinarySearchFunc(s.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
	if found {
		s.bytes -= s.entries[at].size()
	}
	if removed {
		if found {
			s.entries = slices.Delete(s.entries, at, at+1)
		}
		return nil
	}
	h := v.k.secretHash(s.m, name)
	sealed, err := v.r.Get(secretKey(s.m, h, n))
	if err != nil {
		return err
	}
	e := entry{name: name, hash: h, version: n, sealed: bytes.Clone(sealed)}
	s.bytes += e.size()
	if found {
		s.entries[at] = e
	} else {
		s.entries = slices.Insert(s.entries, at, e)
	}
	return nil
}
