package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// faults is a file system with injected failures.
type faults struct {
	vfs.FS
	inject errorfs.Injector
	fail   atomic.Pointer[func(errorfs.Op) bool]
	hits   atomic.Int64
	with   error
}

func newFaults(base vfs.FS, with error) *faults {
	f := &faults{with: with}
	f.inject = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail := f.fail.Load(); fail != nil && (*fail)(op) {
			f.hits.Add(1)
			return &os.PathError{Op: "test", Path: filepath.Base(op.Path), Err: f.with}
		}
		return nil
	})
	f.FS = errorfs.Wrap(base, f.inject)
	return f
}

// ReuseForWrite returns a file that can fail, unlike that of errorfs.
func (f *faults) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.inject.MaybeError(errorfs.Op{Kind: errorfs.OpReuseForWrite, Path: to}); err != nil {
		return nil, err
	}
	if err := f.FS.Rename(from, to); err != nil {
		return nil, err
	}
	return f.FS.OpenReadWrite(to, c)
}

func (f *faults) Unwrap() vfs.FS { return f.FS }

func (f *faults) set(fail func(errorfs.Op) bool) { f.fail.Store(&fail) }
func (f *faults) clear()                         { f.fail.Store(nil) }

func writes(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }

func on(kind integrity.Kind) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool { return writes(op) && integrity.KindOf(vfs.Default, op.Path) == kind }
}

func ofKind(kinds ...errorfs.OpKind) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool {
		for _, k := range kinds {
			if op.Kind == k {
				return true
			}
		}
		return false
	}
}

func both(a, b func(errorfs.Op) bool) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool { return a(op) && b(op) }
}

func named(part string, what func(errorfs.Op) bool) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool { return strings.Contains(filepath.Base(op.Path), part) && what(op) }
}

// every injects every nth of the failures.
func every(n int64, what func(errorfs.Op) bool) func(errorfs.Op) bool {
	var count atomic.Int64
	return func(op errorfs.Op) bool { return what(op) && count.Add(1)%n == 0 }
}

// reopened first fails one sync of a log, so that the engine is reopened.
func reopened(what func(errorfs.Op) bool) func(errorfs.Op) bool {
	var done atomic.Bool
	logSync := both(on(integrity.LogFile), ofKind(errorfs.OpFileSync, errorfs.OpFileSyncData))
	return func(op errorfs.Op) bool {
		if logSync(op) {
			return done.CompareAndSwap(false, true)
		}
		return done.Load() && what(op)
	}
}

// TestFaults makes the disk fail in many ways under load. Reads must keep
// working, and changes must succeed or return ErrUnavailable. Afterwards the
// store must recover by itself, with everything acknowledged.
func TestFaults(t *testing.T) {
	syncs := ofKind(errorfs.OpFileSync, errorfs.OpFileSyncData)
	cases := []struct {
		name   string
		with   error
		fail   func(errorfs.Op) bool
		reopen bool // reopen the engine first
	}{
		{"everything", syscall.EIO, writes, false},
		{"disk full", syscall.ENOSPC, ofKind(errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFilePreallocate, errorfs.OpFileWriteAt), false},
		{"log", syscall.EIO, on(integrity.LogFile), false},
		{"log sync", syscall.EIO, both(on(integrity.LogFile), syncs), false},
		{"log sync, sometimes", syscall.EIO, every(20, both(on(integrity.LogFile), syncs)), false},
		{"log create", syscall.EIO, both(on(integrity.LogFile), ofKind(errorfs.OpCreate, errorfs.OpReuseForWrite)), false},
		{"log write, sometimes", syscall.ENOSPC, every(30, both(on(integrity.LogFile), ofKind(errorfs.OpFileWrite))), false},
		{"manifest", syscall.EIO, on(integrity.ManifestFile), false},
		{"manifest write", syscall.ENOSPC, both(on(integrity.ManifestFile), ofKind(errorfs.OpFileWrite)), false},
		{"manifest sync", syscall.EIO, both(on(integrity.ManifestFile), syncs), false},
		{"marker", syscall.EIO, on(integrity.MarkerFile), true},
		{"tables", syscall.EIO, named(integrity.TableSuffix, writes), false},
		{"tables write, sometimes", syscall.ENOSPC, every(3, named(integrity.TableSuffix, ofKind(errorfs.OpFileWrite))), false},
		{"temporary files", syscall.EIO, named(".dbtmp", writes), true},
		{"ledger", syscall.EIO, named(integrity.LedgerName, writes), false},
		{"ledger, sometimes", syscall.EIO, every(2, named(integrity.LedgerName, writes)), false},
		{"folder sync", syscall.EIO, named("db", syncs), true},
		{"removal", syscall.EIO, ofKind(errorfs.OpRemove), true},
		{"sometimes", syscall.EIO, every(100, writes), false},
	}
	for i, c := range cases {
		if race.Enabled && testing.Short() && i%3 > 0 {
			continue // all go through the same code that is concurrent
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fs := newFaults(vfs.Default, c.with)
				dir := filepath.Join(t.TempDir(), "db")
				s := mustOpen(t, dir, &Options{FS: fs, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
				underFaults(t, s, fs, c.fail, c.reopen)
				storetest.MustClose(t, s)
				if t.Failed() {
					return
				}
				// Once more, with nothing in memory.
				s = mustOpen(t, dir, nil)
				s.View(t.Context(), func(r store.Reader) error { return r.Scan(nil, nil, all) })
			})
		})
	}
}

func all(_, _ []byte) (bool, error) { return true, nil }

// workPause is the time between two changes of a worker. It is virtual: the
// test's clock only advances while everything waits.
const workPause = 20 * time.Millisecond

// underFaults makes the disk of s fail and recover a few times under load.
func underFaults(t *testing.T, s *Store, fs *faults, fail func(errorfs.Op) bool, reopen bool) {
	const workers = 8
	l := newLedger(workers)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var workersDone, readersDone sync.WaitGroup
	var refused, served atomic.Int64
	stop := make(chan struct{})
	for w := range workers {
		workersDone.Go(func() {
			// Large enough that logs and tables change often.
			pad := make([]byte, 100_000)
			for {
				select {
				case <-stop:
					return
				default:
				}
				time.Sleep(workPause)
				err := l.change(ctx, s, w, pad)
				switch {
				case errors.Is(err, store.ErrUnavailable):
					refused.Add(1)
				case err != nil:
					t.Errorf("update: %v", err)
					return
				}
				if l.tried[w].Load()%10 == 0 {
					// Keep the store small.
					err := s.Update(ctx, func(tx store.Tx) error {
						return tx.DeleteRange(fmt.Appendf(nil, "%d/log/", w), fmt.Appendf(nil, "%d/log0", w))
					})
					if err != nil && !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("delete: %v", err)
					}
				}
			}
		})
	}
	readersDone.Go(func() {
		for w := 0; ctx.Err() == nil; w = (w + 1) % workers {
			time.Sleep(10 * time.Millisecond)
			known := l.known()[w]
			n, err := l.state(ctx, s, w)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				t.Errorf("view: %v", err)
			case n < known:
				t.Errorf("worker %d: view shows change %d after %d", w, n, known)
			default:
				l.seen[w].Store(n)
			}
			served.Add(1)
		}
	})
	// A View that lasts the whole time.
	pinned := make(chan error, 1)
	readersDone.Go(func() {
		pinned <- s.View(ctx, func(r store.Reader) error {
			var first []string
			for i := 0; ; i++ {
				var now []string
				err := r.Scan(nil, nil, func(k, v []byte) (bool, error) {
					now = append(now, fmt.Sprintf("%s %d", k, len(v)))
					return true, nil
				})
				if err != nil {
					return err
				}
				if i == 0 {
					first = now
				} else if strings.Join(first, ",") != strings.Join(now, ",") {
					return errors.New("a long view changed")
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	})

	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 3 {
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		hits := fs.hits.Load()
		if reopen {
			fs.set(reopened(fail))
			hits++
		} else {
			fs.set(fail)
		}
		time.Sleep(time.Duration(100+rng.IntN(300)) * time.Millisecond)
		waitFor(t, "a fault", func() bool { return fs.hits.Load() > hits })
		reads := served.Load()
		waitFor(t, "reads while the disk fails", func() bool { return served.Load() > reads+10 })
		fs.clear()
		mustRecover(t, s)
		l.check(t, s, l.known())
	}
	close(stop)
	workersDone.Wait()
	l.check(t, s, l.known())
	cancel()
	readersDone.Wait()
	if err := <-pinned; err != nil {
		t.Errorf("long view: %v", err)
	}
	m := s.Metrics()
	t.Logf("%d faults, %d refused, %d recoveries, %d reads, %d changes", fs.hits.Load(), refused.Load(), m.Recoveries, served.Load(), m.Changes)
}

func waitFor(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(90 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited too long for %s", what)
		}
	}
}

// mustRecover waits until s accepts changes again.
func mustRecover(t *testing.T, s *Store) {
	t.Helper()
	waitFor(t, "the store to recover", func() bool {
		err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte("probe"), []byte("v")) })
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("update: %v", err)
		}
		return err == nil
	})
}

// TestFaultsAtOpen fails each step of opening a store: Open must return an
// error, and the next Open must find everything.
func TestFaultsAtOpen(t *testing.T) {
	race.SkipSequential(t)
	t.Parallel()
	for _, fresh := range []bool{true, false} {
		t.Run(fmt.Sprintf("fresh=%t", fresh), func(t *testing.T) {
			t.Parallel()
			failed := 0
			stride := int64(1)
			if testing.Short() {
				stride = 7
			}
			for n := int64(1); ; n += stride {
				dir := filepath.Join(t.TempDir(), "db")
				if !fresh {
					crashedStore(t, dir)
				}
				fs := newFaults(vfs.Default, syscall.EIO)
				var count atomic.Int64
				fs.set(func(errorfs.Op) bool { return count.Add(1) == n })
				s, err := Open(dir, &Options{FS: fs})
				fs.clear()
				if err == nil {
					// The store may be able to do without the step.
					mustRecover(t, s)
					storetest.MustClose(t, s)
				} else {
					failed++
				}
				s, err = Open(dir, nil)
				if err != nil {
					t.Fatalf("open after a fault at step %d: %v", n, err)
				}
				if !fresh {
					checkCrashedStore(t, s)
				}
				storetest.MustSet(t, s, "x", "y")
				storetest.MustClose(t, s)
				if count.Load() < n {
					t.Logf("%d steps, %d of them fatal", n-1, failed)
					return
				}
			}
		})
	}
}

// crashedStore creates in dir what a crash leaves: a store with a log to
// replay.
func crashedStore(tb testing.TB, dir string) {
	tb.Helper()
	live := filepath.Join(tb.TempDir(), "live")
	s := mustOpen(tb, live, nil)
	for i := range 100 {
		storetest.MustSet(tb, s, fmt.Sprintf("k%03d", i), fmt.Sprintf("value %d", i))
		if i == 50 {
			if err := s.Compact(tb.Context()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	copyDir(tb, live, dir)
	storetest.MustClose(tb, s)
}

func checkCrashedStore(tb testing.TB, s *Store) {
	tb.Helper()
	storetest.MustView(tb, s, func(r store.Reader) error {
		for i := range 100 {
			v, err := r.Get(fmt.Appendf(nil, "k%03d", i))
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("value %d", i); string(v) != want {
				tb.Errorf("key %d is %q, want %q", i, v, want)
			}
		}
		return nil
	})
}

func copyDir(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		tb.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}
