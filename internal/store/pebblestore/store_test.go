package pebblestore

import (
	"log/slog"
	"os"
	"context"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(tb testing.TB) storetest.Opener {
		dir := tb.TempDir()
		return storetest.OpenerFunc(func(context.Context) (store.Store, error) { return Open(dir, &Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}) })
	})
}

func mustOpen(tb testing.TB, dir string, opts *Options) *Store {
	tb.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}
