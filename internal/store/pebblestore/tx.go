package pebblestore

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

const (
	// maxChange bounds the bytes of one group of changes, well below what the
	// engine can take in one batch.
	maxChange = 1 << 30

	// fewKeys is how many keys a range may have to be deleted one by one. A
	// range tombstone is dear to later reads, so it has to be worth it.
	fewKeys = 64
)

var (
	errTooLarge = errors.New("store: change too large")
	// errEmptyKey: neither this engine nor others have a key without bytes.
	errEmptyKey = errors.New("store: empty key")
)

// tx is a store.Tx: a reader of the engine below the changes of the group.
type tx struct {
	reader
	changes *overlay
	changed *tableSet // in which the group has written
}

var _ store.Tx = (*tx)(nil)

// Get implements store.Reader.
func (t *tx) Get(key []byte) ([]byte, error) {
	if t.src == nil {
		return nil, errEnded
	}
	switch state, value := t.changes.get(key); state {
	case set:
		return value, nil
	case deleted:
		return nil, store.ErrNotFound
	}
	return t.reader.Get(key)
}

// Revision implements store.Reader.
func (t *tx) Revision(tables ...byte) uint64 {
	if t.changed.hasAny(tables) {
		return 0
	}
	return t.reader.Revision(tables...)
}

// Set implements store.Tx.
func (t *tx) Set(key, value []byte) error {
	if t.src == nil {
		return errEnded
	}
	if len(key) == 0 {
		return errEmptyKey
	}
	if t.changes.size()+len(key)+len(value) > maxChange {
		return errTooLarge
	}
	t.changed.add(key[0])
	t.changes.set(key, value)
	return nil
}

// Delete implements store.Tx.
func (t *tx) Delete(key []byte) error {
	if t.src == nil {
		return errEnded
	}
	if len(key) == 0 {
		return nil
	}
	if t.changes.size()+len(key) > maxChange {
		return errTooLarge
	}
	t.changed.add(key[0])
	t.changes.delete(key)
	return nil
}

// DeleteRange implements store.Tx.
func (t *tx) DeleteRange(from, to []byte) error {
	if t.src == nil {
		return errEnded
	}
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil
	}
	if t.changes.size()+len(from)+len(to) > maxChange {
		return errTooLarge
	}
	t.changed.addRange(from, to)
	few, err := t.deleteFew(from, to)
	if !few && err == nil {
		t.changes.deleteRange(from, to)
	}
	return err
}

// deleteFew deletes the keys from from to to one by one if they are few.
func (t *tx) deleteFew(from, to []byte) (few bool, err error) {
	keys := make([][]byte, 0, fewKeys)
	err = t.Scan(from, to, func(key, _ []byte) (bool, error) {
		if len(keys) == fewKeys {
			keys = nil
			return false, nil
		}
		keys = append(keys, t.bytes.copy(key))
		return true, nil
	})
	if err != nil || keys == nil {
		return false, err
	}
	for _, key := range keys {
		t.changes.delete(key)
	}
	return true, nil
}

// Scan implements store.Reader: it merges the engine's keys with the group's.
func (t *tx) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) (err error) {
	if t.src == nil {
		return errEnded
	}
	if t.changes.empty() {
		return t.reader.Scan(from, to, fn)
	}
	it, err := t.iterate(from, to)
	if it == nil {
		return err
	}
	defer func() { err = closeIter(it, err) }()

	own := t.changes.seek(from)
	for ok := it.First(); ; {
		for own != nil && (own.state == absent || own.state == deleted && ok && bytes.Compare(own.key, it.Key()) < 0) {
			own = own.next[0]
		}
		if own != nil && !before(own.key, to) {
			own = nil
		}
		switch {
		case !ok && own == nil:
			return nil // and the deferred close reports what stopped it
		case !ok || own != nil && bytes.Compare(own.key, it.Key()) <= 0:
			if ok && bytes.Equal(own.key, it.Key()) {
				ok = it.Next()
			}
			cur := own
			own = own.next[0]
			if cur.state != set {
				continue
			}
			if !ok && it.Error() != nil {
				return nil
			}
			if more, err := fn(cur.key, cur.value); err != nil || !more {
				return err
			}
		default:
			if h := t.changes.hides(it.Key()); h != nil {
				ok = h.to != nil && it.SeekGE(h.to)
				continue
			}
			value, err := it.ValueAndErr()
			if err != nil {
				return readError(err)
			}
			if more, err := fn(it.Key(), value); err != nil || !more {
				return err
			}
			ok = it.Next()
		}
	}
}

// fill puts the group's changes into batch. It asks src for the last key
// where a range has no end, which the engine has no word for.
func (o *overlay) fill(batch *pebble.Batch, src pebble.Reader) error {
	for _, h := range o.hidden {
		to := h.to
		if to == nil {
			var err error
			if to, err = lastKeyAfter(src, h.from); err != nil {
				return err
			}
			if to == nil {
				continue
			}
		}
		from := h.from
		if len(from) == 0 {
			from = []byte{0} // the engine loses tombstones that begin with no key
		}
		if err := batch.DeleteRange(from, to, nil); err != nil {
			return err
		}
	}
	for n := o.head.next[0]; n != nil; n = n.next[0] {
		var err error
		switch {
		case n.state == set:
			err = batch.Set(n.key, n.value, nil)
		case n.state == deleted && o.hides(n.key) == nil:
			err = batch.Delete(n.key, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lastKeyAfter returns the first key after the last one at or after from, or
// nil when there is none.
func lastKeyAfter(src pebble.Reader, from []byte) ([]byte, error) {
	if len(from) == 0 {
		from = nil
	}
	it, err := src.NewIter(&pebble.IterOptions{LowerBound: from})
	if err != nil {
		return nil, readError(err)
	}
	var end []byte
	if it.Last() {
		end = append(append(end, it.Key()...), 0)
	}
	return end, closeIter(it, nil)
}
