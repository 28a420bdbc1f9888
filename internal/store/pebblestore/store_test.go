package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
	"go.uber.org/goleak"
)

// TestMain checks that no goroutine is left once everything is closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(tb testing.TB) storetest.Opener {
		dir := tb.TempDir()
		return storetest.OpenerFunc(func(context.Context) (store.Store, error) { return Open(dir, nil) })
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

// slowSync is a file system whose log syncs block until the test resumes them.
type slowSync struct {
	vfs.FS
	hold    atomic.Bool
	waiting chan struct{} // receives a value for each blocked sync
	resume  chan struct{}
}

func (f *slowSync) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, cat)
	if err != nil || integrity.KindOf(f.FS, name) != integrity.LogFile {
		return file, err
	}
	return &slowFile{file, f}, nil
}

type slowFile struct {
	vfs.File
	fs *slowSync
}

func (f *slowFile) SyncData() error {
	if f.fs.hold.Load() {
		f.fs.waiting <- struct{}{}
		<-f.fs.resume
	}
	return f.File.SyncData()
}

// TestOnlyDurableIsShown blocks the disk in the middle of a commit: no View
// may show the change, though the next function runs on top of it.
func TestOnlyDurableIsShown(t *testing.T) {
	synctest.Test(t, testOnlyDurableIsShown)
}

func testOnlyDurableIsShown(t *testing.T) {
	fs := &slowSync{FS: vfs.Default, waiting: make(chan struct{}, 9), resume: make(chan struct{})}
	s := mustOpen(t, t.TempDir(), &Options{FS: fs})
	storetest.MustSet(t, s, "a", "1")
	shown := func() string {
		got := storetest.MustDump(t, s)
		return got[0].Value
	}
	fs.hold.Store(true)
	done := make(chan error, 2)
	update := func(want, value string) {
		done <- s.Update(t.Context(), func(tx store.Tx) error {
			if got, err := tx.Get([]byte("a")); err != nil || string(got) != want {
				t.Errorf("update sees %q, %v, want %q", got, err, want)
			}
			return tx.Set([]byte("a"), []byte(value))
		})
	}
	go update("1", "2")
	<-fs.waiting
	ran := make(chan struct{})
	go func() {
		done <- s.Update(t.Context(), func(tx store.Tx) error {
			defer close(ran)
			got, err := tx.Get([]byte("a"))
			if err != nil || string(got) != "2" {
				t.Errorf("update sees %q, %v, want 2", got, err)
			}
			return tx.Set([]byte("a"), []byte("3"))
		})
	}()
	<-ran // while the first is not durable
	synctest.Wait()
	if got := shown(); got != "1" {
		t.Errorf("view shows %q, which is not durable", got)
	}
	select {
	case err := <-done:
		t.Errorf("an update ended before it was durable: %v", err)
	default:
	}
	fs.resume <- struct{}{}
	must(t, <-done)
	<-fs.waiting
	if got := shown(); got != "2" {
		t.Errorf("view shows %q, want 2", got)
	}
	fs.hold.Store(false)
	fs.resume <- struct{}{}
	must(t, <-done)
	if got := shown(); got != "3" {
		t.Errorf("view shows %q, want 3", got)
	}
}

// TestGroups checks that concurrent callers share a sync.
func TestGroups(t *testing.T) {
	fs := &slowSync{FS: vfs.Default, waiting: make(chan struct{}, 99), resume: make(chan struct{}, 99)}
	s := mustOpen(t, t.TempDir(), &Options{FS: fs})
	fs.hold.Store(true)
	const callers = 50
	var wg sync.WaitGroup
	var ran atomic.Int64
	for i := range callers {
		wg.Go(func() {
			storetest.MustUpdate(t, s, func(tx store.Tx) error {
				ran.Add(1)
				return tx.Set(fmt.Append(nil, i), []byte("v"))
			})
		})
	}
	<-fs.waiting
	// All others run while the first group is being synced.
	waitFor(t, "all functions", func() bool { return ran.Load() == callers })
	fs.hold.Store(false)
	fs.resume <- struct{}{}
	wg.Wait()
	if m := s.Metrics(); m.Changes != callers || m.Groups > 2 {
		t.Errorf("%d changes in %d groups", m.Changes, m.Groups)
	}
}

func TestEmptyKey(t *testing.T) {
	s := mustOpen(t, t.TempDir(), nil)
	err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set(nil, []byte("v")) })
	if !errors.Is(err, group.ErrEmptyKey) {
		t.Errorf("set: %v", err)
	}
	storetest.MustUpdate(t, s, func(tx store.Tx) error { return tx.Delete(nil) })
	storetest.MustView(t, s, func(r store.Reader) error {
		if _, err := r.Get(nil); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		return nil
	})
}

// TestUsedAfterEnd uses transactions after their functions have returned.
func TestUsedAfterEnd(t *testing.T) {
	s := mustOpen(t, t.TempDir(), nil)
	var reader store.Reader
	storetest.MustView(t, s, func(r store.Reader) error { reader = r; return nil })
	if _, err := reader.Get([]byte("a")); !errors.Is(err, group.ErrEnded) {
		t.Errorf("get: %v", err)
	}
	if err := reader.Scan(nil, nil, all); !errors.Is(err, group.ErrEnded) {
		t.Errorf("scan: %v", err)
	}
	var writer store.Tx
	storetest.MustUpdate(t, s, func(tx store.Tx) error { writer = tx; return nil })
	for name, err := range map[string]error{
		"set":          writer.Set([]byte("a"), nil),
		"delete":       writer.Delete([]byte("a")),
		"delete range": writer.DeleteRange(nil, nil),
		"scan":         writer.Scan(nil, nil, all),
	} {
		if !errors.Is(err, group.ErrEnded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := mustOpen(t, t.TempDir(), nil)
	for i := range 10 {
		storetest.MustSet(t, s, fmt.Sprint(i), "v")
	}
	m := s.Metrics()
	if m.Changes != 10 || m.Groups != 10 || m.LogBytes == 0 || m.MemoryBytes == 0 || m.DiskBytes == 0 || !m.Available {
		t.Errorf("%+v", m)
	}
	must(t, s.Compact(t.Context()))
	if m := s.Metrics(); m.Flushes == 0 || m.TableBytes == 0 {
		t.Errorf("%+v", m)
	}
	storetest.MustClose(t, s)
	if m := s.Metrics(); m.Changes != 10 || m.Available {
		t.Errorf("after close: %+v", m)
	}
}
