package pebblestore

import (
	"bytes"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// copyLimit is the size up to which a value is copied out of the engine; a
// larger one is lent, which holds the engine's resources until the
// transaction ends.
const copyLimit = 4 << 10

// reader is a store.Reader over one state of the engine. It is used again
// once its transaction has ended.
type reader struct {
	src   pebble.Reader // nil outside of a transaction
	revs  *revisions    // of the state that is read
	bytes arena
	lent  []io.Closer
}

var errEnded = errors.New("store: transaction used after its end")

// Revision implements store.Reader.
func (r *reader) Revision(tables ...byte) uint64 {
	if r.src == nil {
		return 0
	}
	return r.revs.of(tables)
}

// Get implements store.Reader.
func (r *reader) Get(key []byte) ([]byte, error) {
	if r.src == nil {
		return nil, errEnded
	}
	if len(key) == 0 {
		return nil, store.ErrNotFound // see errEmptyKey
	}
	value, closer, err := r.src.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, store.ErrNotFound
		}
		return nil, readError(err)
	}
	if len(value) > copyLimit {
		r.lent = append(r.lent, closer)
		return value, nil
	}
	value = r.bytes.copy(value)
	if err := closer.Close(); err != nil {
		return nil, readError(err)
	}
	return value, nil
}

// Scan implements store.Reader.
func (r *reader) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) (err error) {
	it, err := r.iterate(from, to)
	if it == nil {
		return err
	}
	defer func() { err = closeIter(it, err) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return readError(err)
		}
		if more, err := fn(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return nil
}

// iterate returns an iterator over the engine's keys from from to to, or nil
// when there are none.
func (r *reader) iterate(from, to []byte) (*pebble.Iterator, error) {
	if r.src == nil {
		return nil, errEnded
	}
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil, nil
	}
	if len(from) == 0 {
		from = nil // the engine knows no bound that is empty
	}
	it, err := r.src.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	return it, readError(err)
}

// closeIter closes it and returns err, or else what made it stop.
func closeIter(it *pebble.Iterator, err error) error {
	// Close reports the error of the iteration as well.
	if cerr := it.Close(); err == nil {
		return readError(cerr)
	}
	return err
}

// end gives back what the transaction held.
func (r *reader) end() {
	r.src, r.revs = nil, nil
	r.bytes.reset()
	for i, c := range r.lent {
		_ = c.Close() // the value was read; nothing is left to fail
		r.lent[i] = nil
	}
	r.lent = r.lent[:0]
}
