package keep

import (
	"context"
	"io"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// These are for whoever opens a store that holds its keyset, which must happen before
// there is a Keep.

// StoredKeyset is the wrapped keyset in a store that servers share.
type StoredKeyset = record.StoredKeyset

// SharedKeys opens and changes the keyset in a store that servers share.
type SharedKeys struct {
	Loaded StoredKeyset // that the keys in use come from
	// Open unwraps what Wrap has wrapped.
	Open func(ctx context.Context, wrapped []byte) (*seal.Keys, error)
	Wrap func(context.Context, *seal.Keys) ([]byte, error)
}

// offlineRecords returns the records of a store without a Keep. Unless the store is its
// own, shared is set: other servers may change the keys.
func offlineRecords(s store.Store, keys *seal.Keys, shared *SharedKeys) *record.DB {
	db := record.New(s, keys, time.Now)
	if shared != nil {
		db.FollowKeyset(shared.Loaded, shared.Open)
	}
	return db
}

// LoadKeyset returns the keyset in a store, or store.ErrNotFound if the store is empty.
func LoadKeyset(ctx context.Context, s store.Store) (StoredKeyset, error) {
	return record.LoadKeyset(ctx, s)
}

// CreateKeyset puts the first keyset into an empty store. If another server was
// faster, it returns that one's.
func CreateKeyset(ctx context.Context, s store.Store, wrapped []byte) (StoredKeyset, error) {
	return record.CreateKeyset(ctx, s, wrapped)
}

// RewrapKeyset replaces the wrapped form of a keyset, for another key-encryption key.
func RewrapKeyset(ctx context.Context, s store.Store, old StoredKeyset, wrapped []byte) error {
	rewrapped := old
	rewrapped.Wrapped = wrapped
	return record.ReplaceKeyset(ctx, s, old, rewrapped)
}

// ErrKeysetChanged says that another server has changed the keyset in the meantime.
var ErrKeysetChanged = record.ErrKeysetChanged

// ErrNotEmpty says that a store already has data.
var ErrNotEmpty = record.ErrNotEmpty

// RestoreShared is Restore into an empty store that holds its keyset. It returns
// ErrNotEmpty if the store has data. If it is interrupted, no server uses the store.
func RestoreShared(ctx context.Context, r io.Reader, s store.Store, keys *seal.Keys, wrapped []byte) error {
	if err := record.RestoreKeyset(ctx, s, wrapped); err != nil {
		return err
	}
	if err := Restore(ctx, r, s, keys); err != nil {
		return err
	}
	return record.EndRestore(ctx, s)
}
