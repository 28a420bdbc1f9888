package record

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// DB is a store of sealed records. It is safe for concurrent use.
type DB struct {
	store    store.Store
	now      func() time.Time
	keys     atomic.Pointer[seal.Keys]
	follower *follower // nil if the store doesn't hold the keyset
	cache    *cache
	suspects atomic.Pointer[Suspects]
}

// New returns the records of a store that is sealed with keys.
func New(s store.Store, keys *seal.Keys, now func() time.Time) *DB {
	db := &DB{store: s, now: now, cache: newCache()}
	db.keys.Store(keys)
	return db
}

// Exclusive is store.Store.Exclusive.
func (db *DB) Exclusive() bool { return db.store.Exclusive() }

// Now returns the time that a transaction would have that began now.
func (db *DB) Now() time.Time { return db.now() }

// Revision is store.Store.Revision.
func (db *DB) Revision(tables ...Table) uint64 { return db.store.Revision(tables...) }

// Keys returns the keys in use.
func (db *DB) Keys() *seal.Keys { return db.keys.Load() }

// SetKeys replaces the keys. The new ones must open everything in the store. It does
// nothing if the store holds the keyset: the next transaction uses that.
func (db *DB) SetKeys(keys *seal.Keys) {
	if db.follower == nil {
		db.keys.Store(keys)
	}
}

// Hash returns the keyed hash for lookups by exact text. Hashes for different
// purposes are unrelated.
func (db *DB) Hash(purpose, text string) Hash { return db.Keys().Lookup(purpose, []byte(text)) }

// ClearCache drops all decoded records.
func (db *DB) ClearCache() { db.cache.Clear() }

// View calls fn with a consistent snapshot of durable data; see store.Store. The
// time is that of the snapshot, for which View may have to wait.
func (db *DB) View(ctx context.Context, fn func(*Reader) error) error {
	return db.view(&Reader{ctx: ctx, db: db, durable: true}, fn)
}

func (db *DB) view(r *Reader, fn func(*Reader) error) error {
	return db.following(r.ctx, func() error {
		keys := db.Keys()
		return db.store.View(r.ctx, func(s store.Reader) error {
			var err error
			if r.own, err = db.follow(s); err != nil {
				return err
			}
			if r.own == nil {
				if db.Keys() != keys { // those of s are unknown
					return errKeysReplaced
				}
				r.own = keys
			}
			r.Now, r.store = db.now(), s
			return fn(r)
		})
	})
}

// Inspect is View for verifying sums: no record is refused as suspect. pause is
// called between records. It may wait, and its error ends the verification.
func (db *DB) Inspect(ctx context.Context, pause func() error, fn func(*Reader) error) error {
	return db.view(&Reader{ctx: ctx, db: db, durable: true, pause: pause}, fn)
}

// Update calls fn, possibly more than once, and commits its writes durably and
// atomically; see store.Store.
//
// The transaction's time is the time when it runs, not when it was requested: a
// transaction that had to wait must not see data that was deleted in between.
func (db *DB) Update(ctx context.Context, fn func(*Writer) error) error {
	return db.update(ctx, func(w *Writer) error {
		if err := fn(w); err != nil {
			return err
		}
		return w.deferSums()
	})
}

// update is Update without writing the changed sums.
func (db *DB) update(ctx context.Context, fn func(*Writer) error) error {
	w := &Writer{Reader: Reader{ctx: ctx, db: db}}
	return db.following(ctx, func() error {
		return db.store.Update(ctx, func(tx store.Tx) error {
			var err error
			if w.own, err = db.follow(tx); err != nil {
				return err
			}
			w.Now, w.store, w.tx = db.now(), tx, tx
			w.changed.reset()
			return fn(w)
		})
	})
}

// A record's key is its associated data, so a record that was moved to another key
// doesn't open. The mark says that the store had sums when the record was written:
// without it, an attacker who removes all sums could pass the store off as one from
// before sums existed.
const summed = 1

type associatedData struct{ buffer [keySpace]byte }

func (a *associatedData) of(key []byte) []byte { return append(append(a.buffer[:0], key...), summed) }

// keys returns the keys for the transaction's records. A View keeps those of its state,
// whose records may be older than the end of a rotation. An Update of a store that doesn't
// hold the keyset uses the newest: changes are made one after another.
func (r *Reader) keys() *seal.Keys {
	if r.own != nil {
		return r.own
	}
	return r.db.Keys()
}

func (r *Reader) seal(key, plain []byte) ([]byte, error) {
	return r.keys().Seal(plain, r.associated.of(key))
}

func (r *Reader) open(key, sealed []byte) ([]byte, error) {
	return open(r.keys(), key, sealed, &r.associated)
}

// Open opens the record at key, or returns a DamageError.
func Open(keys *seal.Keys, key, sealed []byte) ([]byte, error) {
	return open(keys, key, sealed, new(associatedData))
}

func open(keys *seal.Keys, key, sealed []byte, a *associatedData) ([]byte, error) {
	plain, err := keys.Open(sealed, a.of(key))
	if err != nil && !errors.Is(err, seal.ErrUnknownKey) {
		plain, err = keys.Open(sealed, key) // from before there were sums
	}
	if err != nil {
		return nil, Damaged(key, err)
	}
	return plain, nil
}

// sealedWithSums reports whether the record at key was written to a store with
// sums.
func sealedWithSums(keys *seal.Keys, key, sealed []byte) bool {
	_, err := keys.Open(sealed, new(associatedData).of(key))
	return err == nil
}
