package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// TestReserve checks that low disk space blocks changes but not reads.
func TestReserve(t *testing.T) {
	fs := &lowSpace{FS: vfs.Default}
	fs.free.Store(1 << 30)
	s := mustOpen(t, t.TempDir(), &Options{FS: fs, Reserve: 10 << 20})
	storetest.MustSet(t, s, "a", "1")
	fs.free.Store(10 << 20)
	err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte("a"), []byte("2")) })
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("update: %v", err)
	}
	if got := storetest.MustDump(t, s); len(got) != 1 || got[0].Value != "1" {
		t.Errorf("got %v", got)
	}
	if s.Metrics().Available {
		t.Error("the metrics report the store as available")
	}
	fs.free.Store(11 << 20)
	storetest.MustSet(t, s, "a", "3")
	if m := s.Metrics(); m.Recoveries != 0 || !m.Available {
		t.Errorf("%+v", m)
	}
}

type lowSpace struct {
	vfs.FS
	free atomic.Uint64
}

func (f *lowSpace) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free.Load(), TotalBytes: 1 << 40}, nil
}

// TestWithReserve checks that changes that only remove may use half of the reserve, and
// urgent ones three quarters of it, while others are refused.
func TestWithReserve(t *testing.T) {
	fs := &lowSpace{FS: vfs.Default}
	fs.free.Store(1 << 30)
	s := mustOpen(t, t.TempDir(), &Options{FS: fs, Reserve: 8 << 20})
	storetest.MustSet(t, s, "a", "1")
	set := func(ctx context.Context, value string) error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.Set([]byte("a"), []byte(value)) })
	}
	removing := store.WithReserve(t.Context(), store.RemovalReserve)
	urgent := store.WithReserve(t.Context(), store.LastReserve)
	for _, c := range []struct {
		free             uint64
		removing, urgent bool // may be made
	}{{7 << 20, true, true}, {4<<20 + 4096, true, true}, {4 << 20, false, true}, {2<<20 + 4096, false, true}, {2 << 20, false, false}, {0, false, false}} {
		fs.free.Store(c.free)
		var wg sync.WaitGroup
		for range 8 { // some of them share a group
			wg.Go(func() {
				if err := set(t.Context(), "ordinary"); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%d bytes free: an ordinary change: %v", c.free, err)
				}
			})
			wg.Go(func() {
				if err := set(removing, "urgent"); (err == nil) != c.removing || err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%d bytes free: a change that only removes: %v", c.free, err)
				}
			})
			wg.Go(func() {
				if err := set(urgent, "urgent"); (err == nil) != c.urgent || err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%d bytes free: a change that may use the reserve: %v", c.free, err)
				}
			})
		}
		wg.Wait()
		if err := s.Update(t.Context(), func(store.Tx) error { return nil }); err != nil {
			t.Errorf("%d bytes free: a change that writes nothing: %v", c.free, err)
		}
	}
	if got := storetest.MustDump(t, s); len(got) != 1 || got[0].Value != "urgent" {
		t.Errorf("got %v", got)
	}
}

// TestOpenWithoutSpace opens a store on a full disk: it must be readable, and
// accept changes as soon as there is space.
func TestOpenWithoutSpace(t *testing.T) {
	noSpace := ofKind(errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate)
	for _, c := range []struct {
		name string
		free uint64
		fail func(errorfs.Op) bool
	}{
		{"known", 1 << 20, func(errorfs.Op) bool { return false }},
		{"found out", 1 << 40, noSpace},
		{"no room for files", 1 << 40, ofKind(errorfs.OpCreate, errorfs.OpReuseForWrite)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, dir, nil)
			storetest.MustSet(t, s, "a", "1")
			crashed := t.TempDir()
			copyDir(t, dir, crashed) // with the change in the log
			storetest.MustClose(t, s)

			var full atomic.Bool
			full.Store(true)
			fs := &lowSpace{FS: errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && c.fail(op) {
					return syscall.ENOSPC
				}
				return nil
			}))}
			fs.free.Store(c.free)
			s = mustOpen(t, crashed, &Options{FS: fs})
			if m := s.Metrics(); m.Available {
				t.Error("the metrics report the store as available")
			}
			set := func(ctx context.Context) error {
				return s.Update(ctx, func(tx store.Tx) error { return tx.Set([]byte("a"), []byte("2")) })
			}
			for _, ctx := range []context.Context{t.Context(), store.WithReserve(t.Context(), store.LastReserve)} {
				if err := set(ctx); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("update: %v", err)
				}
			}
			if got := storetest.MustDump(t, s); len(got) != 1 || got[0].Value != "1" {
				t.Errorf("got %v", got)
			}
			full.Store(false)
			fs.free.Store(1 << 40)
			mustRecover(t, s)
			storetest.MustSet(t, s, "a", "3")
		})
	}
}

// TestReadOnly opens crashed and closed stores read-only: everything must be
// readable, and the folder unchanged.
func TestReadOnly(t *testing.T) {
	closed, crashed := t.TempDir(), t.TempDir()
	s := mustOpen(t, closed, nil)
	storetest.MustSet(t, s, "a", "1")
	copyDir(t, closed, crashed)
	if _, err := Open(closed, &Options{ReadOnly: true}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("open a locked store read-only: %v", err)
	}
	storetest.MustClose(t, s)
	for _, dir := range []string{closed, crashed} {
		before := snapshotFolder(t, dir)
		s := mustOpen(t, dir, &Options{ReadOnly: true})
		if _, err := Open(dir, nil); !errors.Is(err, store.ErrLocked) {
			t.Errorf("open a store that is open read-only: %v", err)
		}
		if got := storetest.MustDump(t, s); len(got) != 1 || got[0].Value != "1" {
			t.Errorf("got %v", got)
		}
		err := s.Update(store.WithReserve(t.Context(), store.LastReserve), func(tx store.Tx) error { return tx.Delete([]byte("a")) })
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("update: %v", err)
		}
		storetest.MustClose(t, s)
		if after := snapshotFolder(t, dir); !maps.Equal(before, after) {
			t.Errorf("the folder was changed from\n%v\nto\n%v", before, after)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, dir := range []string{missing, t.TempDir()} {
		if _, err := Open(dir, &Options{ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("open a folder without a store for reading: %v", err)
		}
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("created a folder: %v", err)
	}
}

// snapshotFolder returns the names, content and times of the files in dir.
func snapshotFolder(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	must(tb, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(tb, err)
		info, err := e.Info()
		must(tb, err)
		out[e.Name()] = fmt.Sprint(info.Mode(), info.ModTime(), crc32.ChecksumIEEE(b))
	}
	return out
}
