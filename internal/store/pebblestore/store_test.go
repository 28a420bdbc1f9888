package pebblestore

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(tb testing.TB) storetest.Opener {
		dir := tb.TempDir()
		return storetest.OpenerFunc(func(context.Context) (store.Store, error) { return Open(dir, nil) })
	})
}

func memFS() *vfs.MemFS { return vfs.NewMem() }

func mustOpen(tb testing.TB, dir string, opts *Options) *Store {
	tb.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}
