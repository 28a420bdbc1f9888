package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// onDisk returns the names of the files in dir that contain text.
func onDisk(tb testing.TB, dir, text string) (names []string) {
	tb.Helper()
	for name, content := range contents(tb, dir) {
		if strings.Contains(content, text) {
			names = append(names, name)
		}
	}
	return names
}

// TestCompact overwrites and deletes secrets in a store with several levels
// and searches the files for them.
func TestCompact(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	s := mustOpen(t, dir, nil)
	const marker = "this-must-not-stay"
	keys := 60_000
	if testing.Short() {
		keys = 20_000
	}
	key := func(i int) []byte { return fmt.Appendf(nil, "k%07d", i) }
	write := func(from, to int, value func(i int) []byte) {
		t.Helper()
		for i := from; i < to; {
			storetest.MustUpdate(t, s, func(tx store.Tx) error {
				for end := min(i+1000, to); i < end; i++ {
					if err := tx.Set(key(i), value(i)); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	pad := bytes.Repeat([]byte("0123456789abcdef"), 50)
	secret := func(i int) []byte { return append([]byte(marker), pad[i%200:]...) }
	public := func(i int) []byte { return pad[i%200:] }

	// Old versions that a View needs, so that they reach the last level.
	write(0, keys, secret)
	storetest.MustView(t, s, func(store.Reader) error {
		write(0, keys/2, public)
		settle(t, s)
		return nil
	})
	// Delete some, including from the middle of a table that is only in the
	// last level.
	storetest.MustUpdate(t, s, func(tx store.Tx) error { return tx.DeleteRange(key(keys/2), key(keys*3/4)) })
	storetest.MustUpdate(t, s, func(tx store.Tx) error {
		for i := keys * 3 / 4; i < keys; i++ {
			if err := tx.Delete(key(i)); err != nil {
				return err
			}
		}
		return nil
	})
	storetest.MustSet(t, s, "single", marker)
	storetest.MustUpdate(t, s, func(tx store.Tx) error { return tx.Delete([]byte("single")) })
	if len(onDisk(t, dir, marker)) == 0 {
		t.Fatal("nothing to remove")
	}

	// Others keep reading and writing.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				k := fmt.Sprintf("other/%d/%d", w, i)
				storetest.MustSet(t, s, k, "v")
				storetest.MustView(t, s, func(r store.Reader) error {
					_, err := r.Get([]byte(k))
					return err
				})
			}
		})
	}
	must(t, s.Compact(t.Context()))
	cancel()
	wg.Wait()
	if left := onDisk(t, dir, marker); len(left) > 0 {
		t.Errorf("still in %v", left)
	}
	storetest.MustView(t, s, func(r store.Reader) error {
		for i := range keys {
			v, err := r.Get(key(i))
			if i >= keys/2 {
				if !errors.Is(err, store.ErrNotFound) {
					t.Fatalf("key %d: %q, %v", i, v, err)
				}
			} else if err != nil || !bytes.Equal(v, public(i)) {
				t.Fatalf("key %d: %q, %v", i, v, err)
			}
		}
		return nil
	})

	// A reused log must bring nothing back.
	write(0, keys, func(i int) []byte { return public(i + 1) })
	if left := onDisk(t, dir, marker); len(left) > 0 {
		t.Errorf("again in %v", left)
	}
}

// settle waits until the engine's background work is done.
func settle(tb testing.TB, s *Store) {
	tb.Helper()
	db := s.gen.Load().db
	for quiet := 0; quiet < 5; time.Sleep(20 * time.Millisecond) {
		m := db.Metrics()
		if m.Compact.NumInProgress == 0 && m.Flush.NumInProgress == 0 {
			quiet++
		} else {
			quiet = 0
		}
	}
}

// TestCompactLevels builds a store of many levels and checks that every table
// is rewritten.
func TestCompactLevels(t *testing.T) {
	race.SkipSequential(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	s := mustOpen(t, dir, nil)
	db := s.gen.Load().db
	// Random keys, flushed in small pieces onto a base large enough for
	// several levels.
	value := make([]byte, 2000)
	rng := rand.New(rand.NewPCG(1, 2))
	changes := 60
	if testing.Short() {
		changes = 15
	}
	for range changes {
		storetest.MustUpdate(t, s, func(tx store.Tx) error {
			for range 1000 {
				if err := tx.Set(benchKey(nil, rng.Uint64N(1<<20)), value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	settle(t, s)
	before, _, _, err := tables(db)
	must(t, err)
	t.Logf("%d tables before\n%s", len(before), levels(db))
	must(t, s.Compact(t.Context()))
	if anyExists(s.opts.FS, dir, before) {
		t.Error("a table was left")
	}
	after, _, _, err := tables(db)
	must(t, err)
	t.Logf("%d tables after\n%s", len(after), levels(db))
	must(t, s.Compact(t.Context()))
	if anyExists(s.opts.FS, dir, after) {
		t.Error("the second run left a table")
	}
}

func levels(db *pebble.DB) string {
	var out []string
	m := db.Metrics()
	for i, l := range m.Levels {
		out = append(out, fmt.Sprintf("L%d: %d", i, l.TablesCount))
	}
	return strings.Join(out, ", ")
}

func TestCompactEmpty(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir(), nil)
	must(t, s.Compact(t.Context()))
	storetest.MustSet(t, s, "a", "1")
	must(t, s.Compact(t.Context()))
	storetest.MustUpdate(t, s, func(tx store.Tx) error { return tx.DeleteRange(nil, nil) })
	must(t, s.Compact(t.Context()))
	if got := storetest.MustDump(t, s); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// TestCompactWaitsForViews leaves a View open.
func TestCompactWaitsForViews(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, nil)
	storetest.MustSet(t, s, "a", "secret")
	storetest.MustView(t, s, func(r store.Reader) error {
		storetest.MustSet(t, s, "a", "public")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := s.Compact(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("compact during a view: %v", err)
		}
		v, err := r.Get([]byte("a"))
		if string(v) != "secret" {
			t.Errorf("the view shows %q", v)
		}
		return err
	})
	must(t, s.Compact(t.Context()))
	if left := onDisk(t, dir, "secret"); len(left) > 0 {
		t.Errorf("still in %v", left)
	}
	storetest.MustClose(t, s)
	if err := s.Compact(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("compact of a closed store: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, integrity.LedgerName)); err != nil {
		t.Error(err)
	}
}
