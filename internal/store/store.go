// Package store defines what Fluxkeep asks of the place that keeps its bytes:
// ordered keys and values, changed in transactions that are durable when they
// return.
//
// The implementations live below it (pebblestore), and storetest holds what
// each of them must pass. Nothing here knows what the bytes mean, and nothing
// here encrypts: whoever calls hands over sealed values and keys that say
// nothing.
package store

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that a key has no value.
	ErrNotFound = errors.New("store: not found")
	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("store: in use by another process")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store: closed")
	// ErrUnavailable says that the store can't do the work now, for want of
	// space or because the disk failed. A change that ends with it may have
	// been applied or not; it is never applied in part. The store tries to
	// recover by itself, so the caller may try again.
	ErrUnavailable = errors.New("store: unavailable")
)

// CorruptError says that stored bytes are damaged. Other keys may still be
// readable.
type CorruptError struct {
	What string // what is damaged, for the operator: a file, a block, a record
	Err  error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("store: damaged: %s: %v", e.What, e.Err) }
func (e *CorruptError) Unwrap() error { return e.Err }

type reserveKey struct{}

// WithReserve returns a context whose changes may use some of the disk space
// that a store holds back, and for which others are refused. It is for small
// changes that a start or the recovery of a server depends on.
func WithReserve(ctx context.Context) context.Context {
	return context.WithValue(ctx, reserveKey{}, true)
}

// MayUseReserve reports whether ctx comes from WithReserve. It is for
// implementations.
func MayUseReserve(ctx context.Context) bool { return ctx.Value(reserveKey{}) != nil }

// Store is a set of ordered keys and values. All methods may be called by
// several goroutines at once.
type Store interface {
	// View calls fn with a consistent snapshot of what is durable, which shows
	// every change that had returned when View was called. It never waits for
	// a change, but a store on other machines may have to be reached first.
	// View returns fn's error unchanged.
	View(ctx context.Context, fn func(Reader) error) error

	// Update calls fn and makes what it wrote durable, all of it or nothing.
	// When it returns nil, the change survives a crash and is what every
	// later View shows. Changes are serializable: fn sees all changes that
	// were made before its own and none of those made after.
	//
	// fn may be called more than once, and then only its last call counts.
	// When fn returns an error, nothing is written and Update returns that
	// error unchanged. Once fn has returned nil, a cancelled ctx no longer
	// ends the call.
	//
	// Callers that come at the same time share one sync of the disk; a lone
	// caller waits for nobody.
	Update(ctx context.Context, fn func(Tx) error) error

	// Exclusive reports whether this process alone changes the store. Then the
	// changes that it has made are all there are, and once one of them has
	// succeeded, the outcome of those that failed before it began is final.
	Exclusive() bool

	// Revision is what Reader.Revision would be in a View that began now, or 0
	// if only a View can tell.
	Revision(tables ...byte) uint64

	// Close waits for running calls and releases the store. Calls made
	// afterwards return ErrClosed.
	Close() error
}

// Reader reads within one transaction. It is for the goroutine that runs the
// transaction's function, and must not be used after that function returned.
type Reader interface {
	// Get returns the value at key, or ErrNotFound. The bytes belong to the
	// store and are good until the transaction's function returns.
	Get(key []byte) ([]byte, error)

	// Scan calls fn with each key from from (included) to to (not included)
	// in byte order, until fn returns false or an error, which Scan then
	// returns. The bytes are good until fn returns. fn must not change the
	// range that is being scanned.
	Scan(from, to []byte, fn func(key, value []byte) (more bool, err error)) error

	// Revision identifies the state of some tables, where a table is all keys
	// with the same first byte; without tables, it identifies the whole state.
	// It grows with each change of a key in them. As long as a Store is open,
	// transactions with the same revision of the same tables read the same in
	// them, so what was worked out in one can be used in the other.
	//
	// The revision is 0, and tells nothing, in a Tx that sees changes of these
	// tables that are not durable yet, its own among them.
	Revision(tables ...byte) uint64
}

// Tx is a transaction that can write. Its reads show its own writes. The
// bytes passed to it are copied.
type Tx interface {
	Reader
	Set(key, value []byte) error
	// Delete removes key; a key that has no value is no error.
	Delete(key []byte) error
	// DeleteRange removes all keys from from (included) to to (not included).
	DeleteRange(from, to []byte) error
}

// PrefixEnd returns the first key after all keys that begin with prefix, or
// nil when there is none; Scan and DeleteRange take nil as the end of all
// keys.
func PrefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
