package keeptest

import (
	"context"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// FullStore is a store that has only a reserve left.
type FullStore struct {
	store.Store
	Left *atomic.Int64 // the store.Reserve that a change must have
}

// Update refuses changes that may not use the reserve.
func (s *FullStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		err := fn(tx)
		if err == nil && int64(store.ReserveOf(ctx)) < s.Left.Load() {
			err = store.ErrFull
		}
		return err
	})
}
