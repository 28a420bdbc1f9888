package keep

import (
	"context"
	"io"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// These are for whoever opens a store that holds its keyset, which must happen before
// there is a Keep.

// StoredKeyset is the wrapped keyset in a store that servers share.
type StoredKeyset = record.StoredKeyset

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
