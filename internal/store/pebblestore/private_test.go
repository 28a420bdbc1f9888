//go:build unix

package pebblestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// TestPrivate creates stores under the most open and the strictest umask: only
// the owner may access the folder and its files.
func TestPrivate(t *testing.T) {
	wantPrivate := func(dir string) {
		t.Helper()
		must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			want := fs.FileMode(0o600)
			if e.IsDir() {
				want = fs.ModeDir | 0o700
			}
			if err == nil && info.Mode() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
			}
			return err
		}))
	}
	for _, mask := range []int{0, 0o777} {
		dir := filepath.Join(t.TempDir(), "above", "store")
		func() {
			defer syscall.Umask(syscall.Umask(mask))
			s := mustOpen(t, dir, nil)
			storetest.MustSet(t, s, "a", "1")
			must(t, s.Compact(t.Context()))
			storetest.MustUpdate(t, s, func(tx store.Tx) error { return tx.Delete([]byte("a")) })
			storetest.MustClose(t, s)
			storetest.MustClose(t, mustOpen(t, dir, nil))
		}()
		wantPrivate(filepath.Dir(dir))

		// As the driver of a volume may leave it.
		must(t, os.Chmod(dir, 0o2777))
		storetest.MustClose(t, mustOpen(t, dir, nil))
		wantPrivate(dir)
	}
}

func TestFolderOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs to be root")
	}
	dir := t.TempDir()
	storetest.MustClose(t, mustOpen(t, dir, nil))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
	must(t, os.Chmod(dir, 0o777))
	must(t, syscall.Setreuid(-1, 12345))
	defer func() { must(t, syscall.Setreuid(-1, 0)) }()
	if s, err := Open(dir, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("open a folder of another user: %v", err)
		if err == nil {
			_ = s.Close()
		}
	}
}
