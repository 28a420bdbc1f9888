package record

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A store that servers share also holds the keyset that opens its records, wrapped by
// the key-encryption key. It is part of each state, so whoever sees a state can open
// its records, whichever server has changed the keys.

// TableKeyset has one entry, which is not a record: it isn't sealed, and no sums
// include it. It comes after all records, so that Scan can leave it out.
const TableKeyset Table = 0xff

var keysetKey = Key(TableKeyset)

// StoredKeyset is the wrapped keyset in a shared store.
type StoredKeyset struct {
	// Number grows with each change of the data keys, and ID is another one after each.
	// A store that was put back to an older state, or emptied, can have the same number
	// twice. Both stay the same when only the key-encryption key changes.
	Number  uint64 `json:"number"`
	ID      string `json:"id,omitempty"`
	Wrapped []byte `json:"wrapped"`
	// Restoring says that the records of a backup are being written.
	Restoring bool `json:"restoring,omitempty"`
}

// Next returns the keyset that follows k, with changed data keys.
func (k StoredKeyset) Next(wrapped []byte) StoredKeyset {
	return StoredKeyset{Number: k.Number + 1, ID: rand.Text(), Wrapped: wrapped}
}

// sameKeys reports whether k and other have the same data keys.
func (k StoredKeyset) sameKeys(other StoredKeyset) bool {
	return k.Number == other.Number && k.ID == other.ID
}

// ErrKeysetChanged says that somebody else has changed the keyset in the meantime.
var ErrKeysetChanged = errors.New("the keyset was changed by another server")

// errRestoring says that a restore was interrupted.
var errRestoring = errors.New("a restore into the store has not ended: if it was interrupted, remove everything in the store and restore again")

func storedKeyset(r store.Reader) (StoredKeyset, error) {
	var k StoredKeyset
	data, err := r.Get(keysetKey)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(data, &k); err != nil || k.Number == 0 {
		return k, Damaged(keysetKey, errors.New("it can't be read"))
	}
	if k.Restoring {
		return k, errRestoring
	}
	return k, nil
}

func putKeyset(tx store.Tx, k StoredKeyset) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return tx.Set(keysetKey, data)
}

// LoadKeyset returns the keyset in a store, or store.ErrNotFound if the store is
// empty.
func LoadKeyset(ctx context.Context, s store.Store) (k StoredKeyset, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		k, err = storedKeyset(r)
		return lostKeyset(r, err)
	})
	return k, err
}

// CreateKeyset puts the first keyset into an empty store. If another server was
// faster, it returns that one's.
func CreateKeyset(ctx context.Context, s store.Store, wrapped []byte) (k StoredKeyset, err error) {
	err = s.Update(ctx, func(tx store.Tx) error {
		k, err = storedKeyset(tx)
		if err = lostKeyset(tx, err); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		k = StoredKeyset{}.Next(wrapped)
		return putKeyset(tx, k)
	})
	return k, err
}

// lostKeyset returns an error that isn't store.ErrNotFound if the keyset is missing
// in a store that has records.
func lostKeyset(r store.Reader, err error) error {
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	lost := r.Scan([]byte{0}, keysetKey, func(key, _ []byte) (bool, error) {
		return false, Damaged(keysetKey, fmt.Errorf("it is missing, and there is %s", Describe(key)))
	})
	if lost != nil {
		return lost
	}
	return err
}

// RestoreKeyset puts the keyset of a backup into an empty store. No server uses the
// store until EndRestore.
func RestoreKeyset(ctx context.Context, s store.Store, wrapped []byte) error {
	return s.Update(ctx, func(tx store.Tx) error {
		_, err := storedKeyset(tx)
		if err = lostKeyset(tx, err); !errors.Is(err, store.ErrNotFound) {
			return errors.Join(ErrNotEmpty, err)
		}
		k := StoredKeyset{}.Next(wrapped)
		k.Restoring = true
		return putKeyset(tx, k)
	})
}

// ErrNotEmpty says that a store already has data.
var ErrNotEmpty = errors.New("the store is not empty")

// EndRestore ends what RestoreKeyset began.
func EndRestore(ctx context.Context, s store.Store) error {
	return s.Update(ctx, func(tx store.Tx) error {
		k, err := storedKeyset(tx)
		if !errors.Is(err, errRestoring) {
			return errors.Join(errors.New("the restore was ended by something else"), err)
		}
		k.Restoring = false
		return putKeyset(tx, k)
	})
}

// ReplaceKeyset replaces the keyset old. If that is no longer the one in the store,
// it returns ErrKeysetChanged.
func ReplaceKeyset(ctx context.Context, s store.Store, old, k StoredKeyset) error {
	return s.Update(ctx, func(tx store.Tx) error {
		now, err := storedKeyset(tx)
		if err != nil {
			return err
		}
		if now.Number != old.Number || !bytes.Equal(now.Wrapped, old.Wrapped) {
			return ErrKeysetChanged
		}
		return putKeyset(tx, k)
	})
}

// follower keeps a DB's keys those of the store.
type follower struct {
	open func(context.Context, []byte) (*seal.Keys, error)
	// opening is held to open a keyset, which may take as long as a service takes to
	// answer. It has room for one value.
	opening chan struct{}
	newest  atomic.Pointer[openedKeyset] // that a durable state has
	mu      sync.Mutex                   // held to replace newest; guards other
	other   openedKeyset                 // the last one opened that was not the newest
}

type openedKeyset struct {
	StoredKeyset
	keys     *seal.Keys
	revision uint64 // of the state from which on it is the newest
}

// FollowKeyset makes each transaction use the keyset in the store, which open
// unwraps. The DB's keys come from loaded. Call it before anything else.
func (db *DB) FollowKeyset(loaded StoredKeyset, open func(ctx context.Context, wrapped []byte) (*seal.Keys, error)) {
	db.follower = &follower{open: open, opening: make(chan struct{}, 1)}
	db.follower.newest.Store(&openedKeyset{StoredKeyset: loaded, keys: db.Keys()})
}

// unopenedError says that a transaction sees a keyset that was not opened yet.
type unopenedError struct{ StoredKeyset }

func (unopenedError) Error() string { return "the keyset is not opened yet" }

// errKeysReplaced says that the keys were replaced while a View began.
var errKeysReplaced = errors.New("the keys were replaced")

// following runs a transaction, and again if its keys were replaced or a keyset must be
// opened: others must not wait for that in the store.
func (db *DB) following(ctx context.Context, transaction func() error) error {
	for {
		err := transaction()
		if errors.Is(err, errKeysReplaced) {
			continue
		}
		unopened, ok := errors.AsType[unopenedError](err)
		if !ok {
			return err
		}
		if err := db.follower.unwrap(ctx, unopened.StoredKeyset); err != nil {
			return err
		}
	}
}

// unwrap opens a keyset.
func (f *follower) unwrap(ctx context.Context, k StoredKeyset) error {
	select {
	case f.opening <- struct{}{}:
		defer func() { <-f.opening }()
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	keys := f.keysOf(k)
	f.mu.Unlock()
	if keys != nil {
		return nil // somebody else was faster
	}
	keys, err := f.open(ctx, k.Wrapped)
	if err != nil {
		err = fmt.Errorf("another server has changed the data keys: %w", err)
		if errors.Is(err, seal.ErrDamaged) {
			return err
		}
		// The key-encryption key may be a service's.
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.other = openedKeyset{StoredKeyset: k, keys: keys}
	return nil
}

// keysOf returns the keys of a keyset, or nil if it must be opened. It must be called
// with mu locked.
func (f *follower) keysOf(k StoredKeyset) *seal.Keys {
	for _, opened := range []*openedKeyset{f.newest.Load(), &f.other} {
		if opened.sameKeys(k) {
			return opened.keys
		}
	}
	return nil
}

// follow returns the keys that open the state that a transaction sees, nil if the store
// doesn't hold the keyset. They remain the transaction's own: the state may be an older
// one by now, and its keyset may never become durable.
func (db *DB) follow(r store.Reader) (*seal.Keys, error) {
	f := db.follower
	if f == nil {
		return nil, nil
	}
	revision := r.Revision(TableKeyset)
	if newest := f.newest.Load(); revision != 0 && revision == newest.revision {
		return newest.keys, nil
	}
	stored, err := storedKeyset(r)
	if err != nil {
		return nil, fmt.Errorf("read the keyset: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := f.keysOf(stored)
	if keys == nil {
		return nil, unopenedError{stored}
	}
	if revision > f.newest.Load().revision {
		f.newest.Store(&openedKeyset{stored, keys, revision})
		f.other = openedKeyset{} // replaced keys don't stay in memory; an older state opens its own again
		db.keys.Store(keys)
	}
	return keys, nil
}

// Keyset returns the newest keys and, if the store holds them, their keyset there.
func (db *DB) Keyset(ctx context.Context) (*seal.Keys, StoredKeyset, error) {
	if db.follower == nil {
		return db.Keys(), StoredKeyset{}, nil
	}
	if err := db.View(ctx, func(*Reader) error { return nil }); err != nil {
		return nil, StoredKeyset{}, err
	}
	newest := db.follower.newest.Load()
	return newest.keys, newest.StoredKeyset, nil
}

// ReplaceKeyset replaces the keyset in the store.
func (db *DB) ReplaceKeyset(ctx context.Context, old, k StoredKeyset) error {
	return ReplaceKeyset(ctx, db.store, old, k)
}

// Keyset returns the keys that open the records of the transaction's state, and their
// wrapped form, which is nil if the store doesn't hold it.
func (r *Reader) Keyset() (keys *seal.Keys, wrapped []byte, err error) {
	if r.db.follower == nil {
		return r.keys(), nil, nil
	}
	k, err := storedKeyset(r.store)
	return r.keys(), k.Wrapped, err
}
