//go:build unix

package durable_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/durable"
)

// TestUmask creates files and folders with the most permissive and the most
// restrictive umask.
func TestUmask(t *testing.T) {
	for _, mask := range []int{0, 0o777} {
		dir := t.TempDir()
		func() {
			defer syscall.Umask(syscall.Umask(mask))
			must(t, durable.MkdirAll(filepath.Join(dir, "a", "b")))
			must(t, durable.WriteNewFile(filepath.Join(dir, "new"), []byte("1")))
			temp, err := durable.CreateTemp(dir, "*")
			must(t, err)
			must(t, durable.Commit(temp, filepath.Join(dir, "renamed"), nil))
			must(t, durable.ReplaceFile(filepath.Join(dir, "replaced"), []byte("1")))
		}()
		for name, want := range map[string]os.FileMode{
			"a": os.ModeDir | 0o700, "a/b": os.ModeDir | 0o700, "new": 0o600, "renamed": 0o600, "replaced": 0o600,
		} {
			info, err := os.Stat(filepath.Join(dir, name))
			must(t, err)
			if info.Mode() != want {
				t.Errorf("umask %03o: %s has mode %v, want %v", mask, name, info.Mode(), want)
			}
		}
	}
}
