package secretmap

import (
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// A secret record is visible from its own version up to, not including, the
// version of the name's next record. It is needed while one of these versions
// exists and isn't destroyed.

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

// superseded removes the records that version n replaced when it changed these
// names, except those visible in a pinned version.
func (w *Writer) superseded(n uint64, changes []change) error {
	for _, c := range changes {
		h := c.hash
		if h == (record.Hash{}) { // the record was read
			h = w.hash(c.Name)
		}
		left := c.Before != 0 && w.pinnedIn(c.Before, n)
		if c.Before != 0 && !left {
			key := record.SecretKey(w.head.Map, h, c.Before)
			var err error
			if c.Op == opAdd {
				err = w.tx.Delete(key) // a tombstone, which may have been removed with its own version
			} else {
				err = w.remove(key, c.Before)
			}
			if err != nil {
				return err
			}
		}
		if c.Op.kind() == kindValue {
			continue
		}
		// A tombstone is only needed to hide an older record.
		if !left && len(w.state.Pinned) > 0 {
			var err error
			if left, err = w.olderThan(h, n); err != nil {
				return err
			}
		}
		if !left {
			if err := w.remove(record.SecretKey(w.head.Map, h, n), n); err != nil {
				return err
			}
		}
	}
	return nil
}

// olderThan reports whether a name has a record below version n.
func (w *Writer) olderThan(h record.Hash, n uint64) (found bool, err error) {
	m := w.head.Map
	err = w.r.Scan(record.SecretKey(m, h, n-1), record.SecretKey(m, h, 0), func([]byte, []byte) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
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
	for _, n := range unpinned {
		if err := w.forget(n); err != nil {
			return err
		}
	}
	return w.sweepMap()
}

// sweepMap removes all records of a map that no version needs, including those
// that sweep hasn't reached yet. It reads all keys, so it is only for rare
// operations: destroying and unpinning versions.
func (w *Writer) sweepMap() error {
	type secretRecord struct {
		h    record.Hash
		v    uint64
		gone bool // a tombstone
	}
	m := w.head.Map
	w.head.Sparse = w.head.Current
	var drop []secretRecord
	var group []secretRecord // of one name, newest first
	decide := func() {
		kept := false
		for i, r := range slices.Backward(group) {
			next := w.head.Current + 1
			if i > 0 {
				next = group[i-1].v
			}
			// A tombstone is only needed to hide an older record.
			if r.gone && kept || !r.gone && w.neededIn(r.v, next) {
				kept = true
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
		kind, _, _, err := w.openSecret(k, sealed)
		group = append(group, secretRecord{h, v, err == nil && kind != kindValue})
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
