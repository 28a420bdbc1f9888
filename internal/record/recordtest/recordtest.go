// Package recordtest gives tests a store of sealed records.
package recordtest

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// Kit is a DB in memory, for one test.
type Kit struct {
	*record.DB
	Store store.Store
	// Now is the time of transactions, which only the test moves.
	Now time.Time
}

// New returns an empty DB, which is closed when the test ends.
func New(tb testing.TB) *Kit {
	tb.Helper()
	kek, err := seal.CreateKeyFile(filepath.Join(tb.TempDir(), "key"))
	if err != nil {
		tb.Fatal(err)
	}
	keys, _, err := seal.Create(tb.Context(), kek)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := pebblestore.Open("store", &pebblestore.Options{FS: vfs.NewMem(), Reserve: -1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	k := &Kit{Store: s, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	k.DB = record.New(s, keys, func() time.Time { return k.Now })
	if err := k.Prepare(tb.Context(), func(*record.Writer) error { return nil }); err != nil {
		tb.Fatal(err)
	}
	return k
}
