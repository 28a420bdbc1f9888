package pebblestore

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

const (
	// maxChange limits the bytes of one group, well below the engine's limit
	// for a batch.
	maxChange = 1 << 30

	// fewKeys is the number of keys up to which a range is deleted key by key.
	// A range tombstone slows down later reads, so it must be worth it.
	fewKeys = 64
)

var (
	errTooLarge = errors.New("store: change too large")
	// Neither this engine nor others support empty keys.
	errEmptyKey = errors.New("store: empty key")
)

// tx is a store.Tx: a reader of the engine through the group's changes.
type tx struct {
	reader
	changes  *changes
	changed  *tableSet // tables that the group has written to
	deferred []store.Deferred
}

var _ store.Tx = (*tx)(nil)

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
	return t.changes.batch.Set(key, value, nil)
}

// Defer implements store.Tx.
func (t *tx) Defer(d store.Deferred) { t.deferred = append(t.deferred, d) }

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
	return t.changes.batch.Delete(key, nil)
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
		err = t.changes.deleteRange(from, to)
	}
	return err
}

// deleteFew deletes the keys in [from, to) one by one if there are few.
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
		if err := t.changes.batch.Delete(key, nil); err != nil {
			return false, err
		}
	}
	return true, nil
}

// lastKeyAfter returns the immediate successor of the last key at or after
// from, or nil if there is none.
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
