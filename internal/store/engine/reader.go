// Package engine has what the stores that use Pebble share: reading one state of
// the engine, writing a group of changes to it, and its errors.
package engine

import (
	"bytes"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/arena"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
)

// copyLimit is the size up to which values are copied out of the engine.
// Larger values are lent, which holds engine resources until the transaction
// ends.
const copyLimit = 4 << 10

// Reader is a store.Reader of one state of the engine. It can be reused after
// End. The empty key is not visible.
type Reader struct {
	src   pebble.Reader    // nil outside of a transaction
	revs  *group.Revisions // of that state
	bytes arena.Arena
	lent  []io.Closer
}

// Begin begins a transaction that reads src, whose revisions are revs.
func (r *Reader) Begin(src pebble.Reader, revs *group.Revisions) { r.src, r.revs = src, revs }

// Revision implements store.Reader.
func (r *Reader) Revision(tables ...byte) uint64 {
	if r.src == nil {
		return 0
	}
	return r.revs.Of(tables...)
}

// Get implements store.Reader.
func (r *Reader) Get(key []byte) ([]byte, error) {
	if r.src == nil {
		return nil, group.ErrEnded
	}
	if len(key) == 0 {
		return nil, store.ErrNotFound // no key is empty
	}
	value, closer, err := r.src.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, store.ErrNotFound
		}
		return nil, ReadError(err)
	}
	if len(value) > copyLimit {
		r.lent = append(r.lent, closer)
		return value, nil
	}
	value = r.bytes.Copy(value)
	if err := closer.Close(); err != nil {
		return nil, ReadError(err)
	}
	return value, nil
}

// Scan implements store.Reader.
func (r *Reader) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) (err error) {
	it, err := r.iterate(from, to)
	if it == nil {
		return err
	}
	defer func() { err = closeIter(it, err) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return ReadError(err)
		}
		if more, err := fn(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return nil
}

// iterate returns an iterator over the engine's keys in [from, to), or nil if
// the range is empty.
func (r *Reader) iterate(from, to []byte) (*pebble.Iterator, error) {
	if r.src == nil {
		return nil, group.ErrEnded
	}
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil, nil
	}
	if len(from) == 0 {
		from = firstKey
	}
	it, err := r.src.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	return it, ReadError(err)
}

// firstKey is the first key that is not empty.
var firstKey = []byte{0}

// closeIter closes it and returns err, or else the error of the iteration.
func closeIter(it *pebble.Iterator, err error) error {
	// Close also returns the error of the iteration.
	if cerr := it.Close(); err == nil {
		return ReadError(cerr)
	}
	return err
}

// End releases the resources of the transaction.
func (r *Reader) End() {
	r.src, r.revs = nil, nil
	r.bytes.Reset()
	for i, c := range r.lent {
		_ = c.Close() // the value has been read
		r.lent[i] = nil
	}
	r.lent = r.lent[:0]
}
