package secretmap

import (
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// A secret record is visible from its version up to, not including, that of
// the name's next record. It is needed as long as one of these versions is
// kept and not destroyed.

const (
	// maxPruned and sweptNames bound the work that earlier writes, or a lower
	// max_versions, put on one write; the following writes go on with it.
	maxPruned  = 100
	sweptNames = 256
	// A version that is no longer kept can be merged with for a moment, since
	// of many who read it and write at the same time the last one comes when
	// many new versions were made.
	mergeTime     = time.Minute
	mergeVersions = 64
	// While small writes follow each other closely, only each pruneEvery-th
	// prunes: records of neighbouring versions are read at the price of one.
	pruneEvery = 16
	fewChanges = 8
)

// prune lets go of the oldest versions until no more than max_versions are
// left. changed is the number of names that the write has changed: what comes
// in faster than it goes would grow without end. before is the time of the
// version before.
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

// mergeable reports whether the version at the floor may still be merged with:
// it was the current one until a moment ago, and not many came after it.
func (w *Writer) mergeable() (bool, error) {
	if w.head.Oldest-w.head.Floor > mergeVersions {
		return false, nil
	}
	next, err := w.recentVersion(w.head.Map, w.head.Floor+1)
	return err == nil && w.r.Now.Sub(next.Time) < mergeTime, err
}

// sweep goes on with removing what only versions below the floor needed, until
// it has looked at so many names.
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

// swept notes that nothing is left of what version n has superseded. A pinned
// version keeps its record.
func (w *Writer) swept(n uint64) error {
	w.head.Swept, w.head.SweptParts = n, 0
	if w.state.pinned(n - 1) {
		return nil
	}
	return w.forget(n - 1)
}

// superseded removes the records of these names, which version n has changed,
// that were visible up to it, apart from those that a pinned version shows.
func (w *Writer) superseded(n uint64, changes []change) error {
	for _, c := range changes {
		h := c.hash
		if h == (record.Hash{}) { // the record was read
			h = w.hash(c.Name)
		}
		left := c.Before != 0 && w.pinnedIn(c.Before, n)
		if c.Before != 0 && !left {
			if err := w.tx.Delete(record.SecretKey(w.head.Map, h, c.Before)); err != nil {
				return err
			}
		}
		if c.Op.kind() == kindValue {
			continue
		}
		// That a name is gone must be said only to hide an older record.
		if !left && len(w.state.Pinned) > 0 {
			var err error
			if left, err = w.olderThan(h, n); err != nil {
				return err
			}
		}
		if !left {
			if err := w.tx.Delete(record.SecretKey(w.head.Map, h, n)); err != nil {
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

// pinnedIn reports whether a pinned version from (included) to to (not
// included) shows its values.
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

// forget removes what is known of a version.
func (w *Writer) forget(n uint64) error {
	if _, has := w.state.Deleted[n]; has || w.state.destroyed(n) {
		w.changeState()
		delete(w.state.Deleted, n)
		w.state.Destroyed = remove(w.state.Destroyed, n)
	}
	return w.deleteVersion(n)
}

// sweepUnpinned removes what only versions that were unpinned needed.
func (w *Writer) sweepUnpinned() error {
	sweep := false
	for _, n := range w.unpinned {
		if n >= w.head.Floor {
			continue
		}
		sweep = true
		if err := w.forget(n); err != nil {
			return err
		}
	}
	w.unpinned = nil
	if !sweep {
		return nil
	}
	return w.sweepMap()
}

// sweepMap removes all records of a map that no kept version needs, also those
// that sweep had still before it. It is for what is rare, destroying and
// unpinning versions, since it reads all keys.
func (w *Writer) sweepMap() error {
	type secretRecord struct {
		h    record.Hash
		v    uint64
		gone bool // it says that the name is gone
	}
	m := w.head.Map
	var drop []secretRecord
	var group []secretRecord // of one name, newest first
	decide := func() {
		kept := false
		for i, r := range slices.Backward(group) {
			next := w.head.Current + 1
			if i > 0 {
				next = group[i-1].v
			}
			// That a name is gone must be said only to hide an older record.
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
			err = w.tx.Delete(record.SecretKey(m, r.h, r.v))
		}
	}
	for err == nil && w.head.Swept < w.head.Floor {
		err = w.swept(w.head.Swept + 1)
	}
	return err
}

// neededIn reports whether a kept version from (included) to to (not
// included) shows its values.
func (w *Writer) neededIn(from, to uint64) bool {
	for v := max(from, w.head.Floor); v < to && v <= w.head.Current; v++ {
		if !w.state.destroyed(v) {
			return true
		}
	}
	return w.pinnedIn(from, to)
}
