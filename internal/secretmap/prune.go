package secretmap

import (
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A secret record is visible from its own version up to, not including, the
// version of the name's next record. It is needed while one of these versions
// exists and isn't destroyed. After that, it belongs to the secret's own history,
// as long as it is one of the name's last max_versions records, unless
//   - the last version that showed it was deleted or destroyed, or
//   - the secret was removed and no version shows it any more.

const (
	// maxPruned and sweptNames limit how much cleanup one write does for
	// earlier writes or a lower max_versions. Later writes continue it.
	maxPruned  = 100
	sweptNames = 256
	// For a short time, writes can be merged with versions that no longer exist:
	// if many clients read a version and then write at once, the last one comes
	// after many new versions.
	mergeTime     = time.Minute
	mergeVersions = 64
	// While small writes follow each other closely, only every pruneEvery-th
	// one prunes: reading the records of neighboring versions costs no more
	// than reading one.
	pruneEvery = 16
	fewChanges = 8
	// A name's own history is pruned at every historyEvery-th change of it, or
	// more rarely if it is long: finding its records costs a scan.
	historyEvery = 16
)

// prune drops the oldest versions until no more than max_versions are left.
// changed is the number of names that the write has changed: a write removes more
// than it adds, or the map would grow without limit. before is the time of the
// previous version.
func (w *Writer) prune(changed int, before time.Time) error {
	if keep := uint64(w.state.maxVersions()); w.head.Current >= keep {
		w.head.Full = true
		w.head.Oldest = max(w.head.Oldest, w.head.Current-keep+1)
	}
	swept := w.head.Swept == w.head.Floor
	if swept && changed <= fewChanges && w.r.Now.Sub(before) < mergeTime && w.head.Current%pruneEvery != 0 {
		return nil
	}
	for i := 0; i < maxPruned && w.head.Floor < w.head.Oldest; i++ {
		wanted, err := w.mergeable()
		if err != nil {
			return err
		}
		if wanted {
			break
		}
		w.head.Floor++
	}
	return w.sweep(2*changed + sweptNames)
}

// mergeable reports whether writes may still be merged with the version at the
// floor: it was the current one until a moment ago, and few came after it.
func (w *Writer) mergeable() (bool, error) {
	if w.head.Oldest-w.head.Floor > mergeVersions {
		return false, nil
	}
	next, err := w.recentVersion(w.head.Map, w.head.Floor+1)
	return err == nil && w.r.Now.Sub(next.Time) < mergeTime, err
}

// sweep continues to remove records that only versions below the floor needed,
// until it has looked at the given number of names.
func (w *Writer) sweep(names int) error {
	for w.head.Swept < w.head.Floor && names > 0 {
		n := w.head.Swept + 1
		r, err := w.recentVersion(w.head.Map, n)
		if err != nil {
			return err
		}
		part := r.Changes
		if r.Chunks > 0 {
			if part, err = w.changesIn(w.head.Map, n, w.head.SweptParts); err != nil {
				return err
			}
		}
		if err := w.superseded(n, part); err != nil {
			return err
		}
		names -= 1 + len(part)
		if w.head.SweptParts++; w.head.SweptParts < r.Chunks {
			continue
		}
		if err := w.swept(n); err != nil {
			return err
		}
	}
	return nil
}

// swept records that everything version n superseded has been removed. A
// pinned version keeps its version record.
func (w *Writer) swept(n uint64) error {
	w.head.Swept, w.head.SweptParts = n, 0
	if w.state.pinned(n - 1) {
		return nil
	}
	return w.forget(n - 1)
}

// superseded removes records of the names that version n changed: what the secrets'
// own history doesn't keep and no pinned version shows.
func (w *Writer) superseded(n uint64, changes []change) error {
	ends := w.state.ends(n - 1)
	limit := uint64(w.state.maxVersions())
	every := max(historyEvery, limit/2)
	for _, c := range changes {
		h := c.hash
		if h == (record.Hash{}) { // the record was read
			h = w.hash(c.Name)
		}
		var err error
		switch key := record.SecretKey(w.head.Map, h, c.Before); {
		case c.Op.kind() != kindValue:
			err = w.removed(h, n)
		case c.Before == 0 || !ends || w.pinnedIn(c.Before, n):
		case c.Op == opAdd:
			// In old versions this may be a tombstone, which was removed with
			// its own version.
			err = w.tx.Delete(key)
		default:
			err = w.remove(key, c.Before)
		}
		// The hash spreads the work for a large version over as many versions.
		if err == nil && c.Earlier >= limit && (c.Earlier+uint64(h[0]))%every == 0 {
			err = w.pruneSecret(h, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneSecret removes the records below version n that are too old for a name's own
// history.
func (w *Writer) pruneSecret(h record.Hash, n uint64) error {
	versions, err := w.secretVersions(h, w.head.Current)
	left := false
	for i := len(versions) - 1; i >= w.state.maxVersions() && err == nil; i-- {
		v, next := versions[i], versions[i-1]
		key := record.SecretKey(w.head.Map, h, v)
		stays := next > n || w.pinnedIn(v, next)
		if left && !stays { // a tombstone may hide what is left
			stays, err = w.isTombstone(key)
		}
		if left = left || stays; !stays && err == nil {
			err = w.tx.Remove(key)
		}
	}
	return err
}

func (w *Writer) isTombstone(key []byte) (bool, error) {
	sealed, err := w.r.Sealed(key)
	if err != nil {
		return false, err
	}
	s, err := w.openSecret(key, sealed)
	return !s.shown(), err
}

// secretVersions lists the versions of a name's records, from the one that a version
// shows to the oldest. If one process writes all versions, it doesn't look below the
// oldest one that it found the last time: the store may take long to pass over
// many removed records.
func (w *Writer) secretVersions(h record.Hash, from uint64) (versions []uint64, err error) {
	m, at := w.head.Map, nameKey{w.head.Map, h}
	end := store.PrefixEnd(record.SecretPrefix(m, h))
	exclusive := w.r.DB().Exclusive()
	if oldest, known := w.maps.oldest.Get(at); known && exclusive {
		end = record.SecretKey(m, h, oldest-1)
	}
	err = w.r.Scan(record.SecretKey(m, h, from), end, func(k, _ []byte) (bool, error) {
		_, n, _ := record.ParseSecretKey(k)
		versions = append(versions, n)
		return true, nil
	})
	if err == nil && len(versions) > 0 && exclusive {
		w.maps.oldest.Put(at, versions[len(versions)-1])
	}
	return versions, err
}

// removed removes the records of a name that version n removed, except those
// visible in a pinned version. Only these still need a tombstone.
func (w *Writer) removed(h record.Hash, n uint64) error {
	versions, err := w.secretVersions(h, n)
	left := false
	for i, v := range slices.Backward(versions) {
		if i > 0 && w.pinnedIn(v, versions[i-1]) || i == 0 && left {
			left = true
		} else if err == nil {
			err = w.tx.Remove(record.SecretKey(w.head.Map, h, v))
		}
	}
	return err
}

// pinnedIn reports whether a pinned version from from (inclusive) to to
// (exclusive) shows its values.
func (w *Writer) pinnedIn(from, to uint64) bool {
	at, _ := slices.BinarySearch(w.state.Pinned, from)
	for _, n := range w.state.Pinned[at:] {
		if n >= to {
			break
		}
		if !w.state.destroyed(n) {
			return true
		}
	}
	return false
}

// forget removes a version's record and its state.
func (w *Writer) forget(n uint64) error {
	if _, has := w.state.Deleted[n]; has || w.state.destroyed(n) {
		w.changeState()
		delete(w.state.Deleted, n)
		w.state.Destroyed = remove(w.state.Destroyed, n)
	}
	return w.deleteVersion(n)
}

// sweepUnpinned removes records that only unpinned versions needed.
func (w *Writer) sweepUnpinned() error {
	unpinned := slices.DeleteFunc(w.unpinned, func(n uint64) bool { return n >= w.head.Floor })
	w.unpinned = nil
	if len(unpinned) == 0 {
		return nil
	}
	w.head.Sparse = w.head.Current
	if err := w.sweepMap(); err != nil {
		return err
	}
	for _, n := range unpinned {
		if err := w.forget(n); err != nil {
			return err
		}
	}
	return nil
}

// sweepMap removes all records of a map that neither a version nor the secrets'
// own history needs, including those that sweep hasn't reached yet. The latter
// gives up what the destroyed versions showed. sweepMap reads the whole map, so it
// is only for rare operations: destroying and unpinning versions.
func (w *Writer) sweepMap(destroyed ...uint64) error {
	type found struct {
		h      record.Hash
		v      uint64
		gone   bool // a tombstone
		needed bool
	}
	m := w.head.Map
	w.head.Sparse = w.head.Current
	var drop []found
	var group []found // of one name, newest first
	decide := func() {
		own := w.state.maxVersions() // records left for the secret's own history
		next := w.head.Current + 1
		for i := range group {
			r := &group[i]
			if r.gone && r.v <= w.head.Floor {
				own = 0
			}
			r.needed = !r.gone && (w.neededIn(r.v, next) || own > 0 && !w.endsIn(r.v, next, destroyed))
			own, next = own-1, r.v
		}
		older := false
		for _, r := range slices.Backward(group) {
			// A tombstone is only needed to hide an older record.
			if r.needed || r.gone && older {
				older = true
			} else {
				drop = append(drop, r)
			}
		}
		group = group[:0]
	}
	err := w.r.ScanPrefix(record.Key(record.TableSecret, m), func(k, sealed []byte) (bool, error) {
		h, v, ok := record.ParseSecretKey(k)
		if !ok {
			return false, record.Damaged(k, errSecretRecord)
		}
		if len(group) > 0 && group[0].h != h {
			decide()
		}
		s, err := w.openSecret(k, sealed)
		group = append(group, found{h: h, v: v, gone: err == nil && !s.shown()})
		return true, nil
	})
	if err == nil {
		decide()
	}
	for _, r := range drop {
		if err == nil {
			err = w.tx.Remove(record.SecretKey(m, r.h, r.v))
		}
	}
	for err == nil && w.head.Swept < w.head.Floor {
		err = w.swept(w.head.Swept + 1)
	}
	return err
}

// endsIn reports whether one of the versions from from (inclusive) to to
// (exclusive) was destroyed or deleted, so that what only they show ends with them.
func (w *Writer) endsIn(from, to uint64, destroyed []uint64) bool {
	within := func(n uint64) bool { return from <= n && n < to }
	for n := range w.state.Deleted {
		if within(n) {
			return true
		}
	}
	return slices.ContainsFunc(w.state.Destroyed, within) || slices.ContainsFunc(destroyed, within)
}

// neededIn reports whether a version from from (inclusive) to to (exclusive)
// exists and shows its values.
func (w *Writer) neededIn(from, to uint64) bool {
	for v := max(from, w.head.Floor); v < to && v <= w.head.Current; v++ {
		if !w.state.destroyed(v) {
			return true
		}
	}
	return w.pinnedIn(from, to)
}
