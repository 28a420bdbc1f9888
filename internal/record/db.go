package record

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// DB is a store of sealed records. Its methods may be called by several
// goroutines at once.
type DB struct {
	store store.Store
	now   func() time.Time
	keys  atomic.Pointer[seal.Keys]
	// previous still has the keys that the last rotation dropped, for reads
	// that began before its end; nil soon after.
	previous atomic.Pointer[seal.Keys]
	cache    *cache
	suspects atomic.Pointer[Suspects]
}

// New returns the records of a store that keys open.
func New(s store.Store, keys *seal.Keys, now func() time.Time) *DB {
	db := &DB{store: s, now: now, cache: newCache()}
	db.keys.Store(keys)
	return db
}

// Exclusive is store.Store's.
func (db *DB) Exclusive() bool { return db.store.Exclusive() }

// Keys returns the keys that seal what is written now.
func (db *DB) Keys() *seal.Keys { return db.keys.Load() }

// SetKeys replaces the keys. The new ones must open everything that the old
// ones did.
func (db *DB) SetKeys(keys *seal.Keys) { db.keys.Store(keys) }

// DropKeys replaces the keys by fewer, which open every record that is in the
// store now. Transactions that see an earlier state can use the old ones until
// forget is called.
func (db *DB) DropKeys(keys *seal.Keys) (forget func()) {
	before := db.keys.Load()
	db.previous.Store(before)
	db.keys.Store(keys)
	return func() { db.previous.CompareAndSwap(before, nil) }
}

// Hash returns the keyed hash by which something is found by its exact text.
// Hashes for different purposes have nothing in common.
func (db *DB) Hash(purpose, text string) Hash { return db.Keys().Lookup(purpose, []byte(text)) }

// ClearCache makes every record be read from the store and opened again.
func (db *DB) ClearCache() { db.cache.Clear() }

// View calls fn with a consistent snapshot of what is durable; see
// store.Store.
func (db *DB) View(ctx context.Context, fn func(*Reader) error) error {
	r := &Reader{Now: db.now(), ctx: ctx, db: db, durable: true}
	return db.store.View(ctx, func(s store.Reader) error {
		r.store = s
		return fn(r)
	})
}

// Inspect is View for finding out what can be trusted: no record is refused.
func (db *DB) Inspect(ctx context.Context, fn func(*Reader) error) error {
	return db.View(ctx, func(r *Reader) error {
		r.inspecting = true
		return fn(r)
	})
}

// Update calls fn, maybe more than once, and makes what it wrote durable, all
// of it or nothing; see store.Store.
//
// The transaction's time is taken when it runs, not when it was asked for: one
// that had to wait would otherwise take for visible what was deleted
// meanwhile.
func (db *DB) Update(ctx context.Context, fn func(*Writer) error) error {
	w := &Writer{Reader: Reader{ctx: ctx, db: db}}
	return db.store.Update(ctx, func(tx store.Tx) error {
		w.Now, w.store, w.tx, w.changed = db.now(), tx, tx, newChanges()
		if err := fn(w); err != nil {
			return err
		}
		return w.writeSums()
	})
}

// seal and open take the key as the place that a record is bound to: one that
// was moved to another key does not open.

func (db *DB) seal(key, plain []byte) ([]byte, error) { return db.Keys().Seal(plain, key) }

func (db *DB) open(key, sealed []byte) ([]byte, error) {
	plain, err := db.Keys().Open(sealed, key)
	if errors.Is(err, seal.ErrUnknownKey) {
		// A snapshot of the store from before the end of a rotation.
		if previous := db.previous.Load(); previous != nil {
			plain, err = previous.Open(sealed, key)
		}
	}
	if err != nil {
		return nil, Damaged(key, err)
	}
	return plain, nil
}
