package failpoint

import (
	"context"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Store adds points before and after the changes of a store are committed. They are
// named change.TABLES.WHEN, where TABLES are those that the change writes to, sorted,
// and WHEN is before or after. They can only kill the process.
func (p *Points) Store(base store.Store) store.Store { return &pointedStore{base, p} }

type pointedStore struct {
	store.Store
	points *Points
}

func (s *pointedStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	var point string
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		noting := &notingTx{Tx: tx}
		if err := fn(noting); err != nil {
			return err
		}
		slices.Sort(noting.tables)
		point = "change." + string(slices.Compact(noting.tables))
		s.points.dieAt(point + ".before")
		return nil
	})
	if err == nil {
		s.points.dieAt(point + ".after")
	}
	return err
}

// dieAt kills the process if it is to be killed at a point.
func (p *Points) dieAt(point string) {
	if p.killed(point) {
		die()
	}
}

// notingTx notes the tables that are written to.
type notingTx struct {
	store.Tx
	tables []byte
}

func (t *notingTx) Set(key, value []byte) error {
	t.tables = append(t.tables, key[0])
	return t.Tx.Set(key, value)
}

func (t *notingTx) Delete(key []byte) error {
	t.tables = append(t.tables, key[0])
	return t.Tx.Delete(key)
}

func (t *notingTx) DeleteRange(from, to []byte) error {
	t.tables = append(t.tables, from[0])
	return t.Tx.DeleteRange(from, to)
}
