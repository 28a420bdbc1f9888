package server

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// TestLowSpace restarts a crashed server on a full or almost full disk. It serves
// reads and reports that it can't write; read-only offline tools work; and writes are
// accepted again once there is space.
func TestLowSpace(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	live, elsewhere := filepath.Join(t.TempDir(), "data"), t.TempDir()
	args := []string{"--audit-log=" + filepath.Join(elsewhere, "audit.log"), "--key-file=" + filepath.Join(elsewhere, "key")}

	s := start(t, live, args...)
	s.setUp(t)
	token, org := s.token, s.org
	s.stop(t)

	for _, free := range []int64{16 << 20, 0} {
		dir := filepath.Join(disk, "data")
		s := start(t, live, args...)
		s.token, s.org = token, org
		s.putSecret(t, "a", fmt.Sprint(free))
		// As after a crash, with the audit record still in the store.
		eventually(t, "a copy", func() bool { // the store still cleans up after the start
			return os.RemoveAll(dir) == nil && os.CopyFS(dir, os.DirFS(live)) == nil
		})
		s.stop(t)

		filler := filepath.Join(disk, "filler")
		fill(t, disk, filler, free)
		check := func() {
			t.Helper()
			if _, err := datadir.AuditCheckpoint(t.Context(), testConfig(t, dir, args...)); err != nil {
				t.Errorf("%d bytes free: checkpoint: %v", free, err)
			}
			_, err := datadir.Check(t.Context(), testConfig(t, dir, args...), func(d keep.Damage) {
				t.Errorf("%d bytes free: damaged: %s: %v", free, d.What, d.Err)
			})
			if err != nil {
				t.Errorf("%d bytes free: check: %v", free, err)
			}
		}
		check()
		s = start(t, dir, args...)
		s.token, s.org = token, org
		if got := s.names(t); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%d bytes free: secrets %q", free, got)
		}
		patch := func() int { return s.do(t, "PATCH", s.secrets(), `{"a":"2"}`).status }
		if got := patch(); got != http.StatusServiceUnavailable {
			t.Errorf("%d bytes free: PATCH: %d", free, got)
		}
		if a := s.do(t, "GET", "/health", ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("%d bytes free: health: %d %s", free, a.status, a.body)
		}
		remove(t, filler)
		for end := time.Now().Add(patience); patch() != http.StatusNoContent; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d bytes free before: PATCH: %d", free, patch())
			}
		}
		s.stop(t)
		check()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// fill writes a file that leaves the given number of bytes free on the disk.
func fill(t *testing.T, disk, path string, free int64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(disk, &st); err != nil {
		t.Fatal(err)
	}
	content := make([]byte, int64(st.Bavail)*st.Bsize-free)
	if err := os.WriteFile(path, content, 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
