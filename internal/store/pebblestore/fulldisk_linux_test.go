package pebblestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// TestFullDisk fills a real file system.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	for _, reserve := range []int64{8 << 20, -1} {
		t.Run(fmt.Sprintf("reserve=%d", reserve), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := filepath.Join(dir, fmt.Sprintf("db%d", reserve))
				s := mustOpen(t, db, &Options{Reserve: reserve})
				acked := 0
				value := make([]byte, 100_000)
				var err error
				for range 2000 {
					err = s.Update(t.Context(), func(tx store.Tx) error {
						value[0] = byte(acked)
						return tx.Set(fmt.Appendf(nil, "k%05d", acked), value)
					})
					if err != nil {
						break
					}
					acked++
				}
				if !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("after %d changes: %v", acked, err)
				}
				check := func(s *Store) {
					t.Helper()
					storetest.MustView(t, s, func(r store.Reader) error {
						for i := range acked {
							v, err := r.Get(fmt.Appendf(nil, "k%05d", i))
							if err != nil {
								return err
							}
							if v[0] != byte(i) {
								t.Errorf("key %d is wrong", i)
							}
						}
						return nil
					})
				}
				check(s)
				time.Sleep(time.Second) // the store tries to reopen the engine
				check(s)
				t.Logf("full after %d changes, %d recoveries", acked, s.Metrics().Recoveries)
				if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=200m"); err != nil {
					t.Fatal(err)
				}
				mustRecover(t, s)
				check(s)
				storetest.MustClose(t, s)
				s = mustOpen(t, db, nil)
				check(s)
				storetest.MustClose(t, s)
				if err := os.RemoveAll(db); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=48m"); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestNoInodes uses up the inodes of a real file system. The store must refuse
// changes before they run out, and be readable after a restart without any.
func TestNoInodes(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=200"); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	db := filepath.Join(dir, "db")
	s := mustOpen(t, db, nil)
	storetest.MustSet(t, s, "a", "1")
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	set := func() error {
		return s.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte("a"), []byte("2")) })
	}
	if err := set(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("update: %v", err)
	}
	if got := s.Metrics().Recoveries; got != 0 {
		t.Errorf("the engine hit the full disk %d times", got)
	}
	storetest.MustClose(t, s)

	s = mustOpen(t, db, nil)
	if err := set(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("update: %v", err)
	}
	if got := storetest.MustDump(t, s); len(got) != 1 || got[0].Value != "1" {
		t.Errorf("got %v", got)
	}
	for i := range reserveFiles + 16 {
		must(t, os.Remove(filepath.Join(dir, strconv.Itoa(i))))
	}
	mustRecover(t, s)
	must(t, set())
}
