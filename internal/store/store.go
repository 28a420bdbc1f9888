// Package store defines how Fluxkeep stores bytes: ordered keys and values,
// changed in durable transactions.
//
// Implementations are in packages below it (pebblestore, etcdstore); storetest is
// the test suite that each must pass. Stores don't interpret or encrypt anything:
// callers pass sealed values, and keys that reveal nothing.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

var (
	// ErrNotFound means that a key has no value.
	ErrNotFound = errors.New("store: not found")
	// ErrLocked means that another process has the store open.
	ErrLocked = errors.New("store: in use by another process")
	// ErrClosed means that the store is closed.
	ErrClosed = errors.New("store: closed")
	// ErrUnavailable means that the store can't do the work now, because the
	// disk is full or has failed. The change may or may not have been applied,
	// but never in part. The store tries to recover by itself, so the caller
	// may retry.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrFull is an ErrUnavailable that means that too little space is left for
	// the change.
	ErrFull = fmt.Errorf("%w: too little space is left", ErrUnavailable)
)

// CorruptError reports damaged data. Other keys may still be readable.
type CorruptError struct {
	What string // what is damaged, for the operator: a file, a block, a record
	Err  error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("store: damaged: %s: %v", e.What, e.Err) }
func (e *CorruptError) Unwrap() error { return e.Err }

// A Reserve is a part of a store's space that is left to some changes, when others are
// refused with ErrFull.
type Reserve int

const (
	NoReserve Reserve = iota
	// RemovalReserve is for changes that only remove. They write a little themselves, and
	// whoever may write can make many of them.
	RemovalReserve
	// LastReserve is what these can't use up. It is for small changes of operators and of
	// the server, on which it depends that the store gets out of this state.
	LastReserve
)

type reserveKey struct{}

// WithReserve returns a context that lets changes use a reserve, and those before it.
func WithReserve(ctx context.Context, r Reserve) context.Context {
	return context.WithValue(ctx, reserveKey{}, max(r, ReserveOf(ctx)))
}

// ReserveOf returns the reserve that changes with a context may use. It is for
// implementations.
func ReserveOf(ctx context.Context) Reserve {
	r, _ := ctx.Value(reserveKey{}).(Reserve)
	return r
}

type barrierKey struct{}

// WithBarrier returns a context for the Views of one client request. Each of them
// includes the changes that returned before the first of them was called, instead
// of those that returned before it was called itself. So on a store that other
// servers change, only the first View asks the network.
func WithBarrier(ctx context.Context) context.Context {
	return context.WithValue(ctx, barrierKey{}, new(Barrier))
}

// BarrierOf returns the Barrier of a context from WithBarrier, or nil. It is for
// implementations.
func BarrierOf(ctx context.Context) *Barrier {
	b, _ := ctx.Value(barrierKey{}).(*Barrier)
	return b
}

// Barrier records whether a View has made sure that the state is new enough.
type Barrier struct{ passed atomic.Bool }

// Passed reports whether Pass was called.
func (b *Barrier) Passed() bool { return b.passed.Load() }

// Pass records that later Views see a state that is new enough.
func (b *Barrier) Pass() { b.passed.Store(true) }

// Store is a set of ordered keys and values. It is safe for concurrent use.
type Store interface {
	// View calls fn with a consistent snapshot of the durable state, which
	// includes every change that returned before View was called. View never
	// waits for a change, but may need to reach a store on other machines. It
	// returns fn's error unchanged.
	View(ctx context.Context, fn func(Reader) error) error

	// Update calls fn and makes its writes durable, all or none. Once Update
	// returns nil, the change survives a crash and is visible to every later
	// View. Changes are serializable: fn sees all earlier changes and no later
	// ones.
	//
	// fn may be called more than once; only the last call counts. If fn
	// returns an error, nothing is written and Update returns that error
	// unchanged. Once fn has returned nil, canceling ctx has no effect.
	//
	// Once a change that writes has succeeded, those that failed before it began
	// were either made before it or never will be.
	//
	// Concurrent callers share one sync of the disk; a lone caller waits for
	// nobody.
	Update(ctx context.Context, fn func(Tx) error) error

	// Exclusive reports whether only this process changes the store. Once a change
	// has succeeded, even one that writes nothing, the outcome of any that failed
	// before it began is then final.
	Exclusive() bool

	// Revision returns what Reader.Revision would return in a View that began
	// now, or 0 if only a View can tell.
	Revision(tables ...byte) uint64

	// Close waits for running calls and releases the store. Later calls return
	// ErrClosed.
	Close() error
}

// Reader reads within one transaction. Only the goroutine that runs the
// transaction's function may use it, and only until the function returns.
type Reader interface {
	// Get returns the value of key, or ErrNotFound. The store owns the bytes;
	// they are valid until the transaction's function returns.
	Get(key []byte) ([]byte, error)

	// Scan calls fn for each key in [from, to), in byte order, until fn
	// returns false or an error; Scan returns that error. The bytes are valid
	// until fn returns. fn must not change the range that is being scanned.
	Scan(from, to []byte, fn func(key, value []byte) (more bool, err error)) error

	// Revision identifies the state of the given tables, or of the whole store
	// without arguments. A table is all keys with the same first byte. The
	// revision grows with each change to the tables. While a Store is open,
	// transactions with equal revisions of the same tables read the same data
	// from them, so results computed in one are valid in the other.
	//
	// The revision is 0, and identifies nothing, in a Tx that sees changes to
	// these tables that are not durable yet, including its own.
	Revision(tables ...byte) uint64
}

// Tx is a transaction that can write. Its reads see its own writes. It copies
// the bytes passed to it.
type Tx interface {
	Reader
	Set(key, value []byte) error
	// Delete removes key. Deleting a missing key is not an error.
	Delete(key []byte) error
	// DeleteRange removes all keys in [from, to).
	DeleteRange(from, to []byte) error

	// Defer adds d to the work that changes which are committed together do
	// once, if this change succeeds. All that is deferred in a Store must be of
	// one type.
	Defer(d Deferred)
}

// Deferred is work that changes share when they are committed together, such as
// updating a total.
type Deferred interface {
	// Commit is called on one Deferred of the changes that are committed
	// together, with all others, after their functions. tx shows what they
	// wrote. An error fails all these changes.
	Commit(tx Tx, others []Deferred) error
}

// PrefixEnd returns the first key after all keys with the given prefix, or nil
// if there is none. Scan and DeleteRange take nil as the end of all keys.
func PrefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
