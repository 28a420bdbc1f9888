package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

const (
	backupPath = "/api/v2/fluxkeep/backup"
	keysPath   = "/api/v2/fluxkeep/keys"
)

// backup returns a backup of a running server.
func (ts *testServer) backup(t testing.TB) []byte {
	t.Helper()
	a := ts.do(t, "GET", backupPath, "")
	if a.status != http.StatusOK {
		t.Fatalf("backup: %d %s", a.status, a.body)
	}
	return []byte(a.body)
}

// restored restores a backup into a new folder.
func restored(t testing.TB, file []byte, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := datadir.Restore(t.Context(), testConfig(t, dir, args...), bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// opens checks that every record of a backup opens with the keyset in it.
func opens(t testing.TB, file []byte, args ...string) {
	t.Helper()
	c := testConfig(t, t.TempDir(), args...)
	_, err := keep.VerifyBackup(t.Context(), bytes.NewReader(file), func(h backup.Header) (*seal.Keys, error) {
		provider, err := seal.OpenProvider(t.Context(), c.SealConfig())
		if err != nil {
			return nil, err
		}
		return seal.Load(t.Context(), h.Keyset, provider)
	})
	if err != nil {
		t.Errorf("a backup does not open: %v", err)
	}
}

// values returns all values of the organization.
func (ts *testServer) values(t testing.TB) map[string]string {
	t.Helper()
	a := ts.do(t, "GET", ts.secrets()+"/values", "")
	var out map[string]string
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
		t.Fatalf("values: %d %s", a.status, a.body)
	}
	return out
}

// TestBackupUnderLoad takes backups while writers change two secrets at a time and the
// data key keeps rotating. Each backup is a snapshot: every writer's two secrets are
// equal, at least as new as acknowledged before the backup, and not newer than sent
// before its end.
func TestBackupUnderLoad(t *testing.T) {
	const writers, backups, turns = 8, 6, 5
	key := "--key-file=" + filepath.Join(t.TempDir(), "key")
	ts := start(t, filepath.Join(t.TempDir(), "data"), key)
	ts.setUp(t)
	var sent, acked [writers]atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for w := range writers {
		busy.Go(func() {
			for i := int64(1); ctx.Err() == nil; i++ {
				sent[w].Store(i)
				a, err := ts.try("PATCH", ts.secrets(), fmt.Sprintf(`{"left%d":"%d","right%d":"%d"}`, w, i, w, i))
				if err != nil || a.status != http.StatusNoContent {
					t.Errorf("PATCH: %d %s %v", a.status, a.body, err)
					return
				}
				acked[w].Store(i)
			}
		})
	}
	var rotations atomic.Int64
	busy.Go(func() {
		for ctx.Err() == nil {
			a, err := ts.try("POST", keysPath+"/rotate", "")
			switch {
			case err != nil || a.status != http.StatusAccepted && a.status != http.StatusUnprocessableEntity:
				t.Errorf("rotate: %d %s %v", a.status, a.body, err)
				return
			case a.status == http.StatusAccepted:
				rotations.Add(1)
			}
			time.Sleep(time.Millisecond)
		}
	})
	type picture struct {
		file          []byte
		least, utmost [writers]int64
	}
	var pictures []picture
	for end := time.Now().Add(3 * patience); len(pictures) < backups || rotations.Load() < turns; {
		if time.Now().After(end) {
			t.Fatalf("only %d backups and %d rotations", len(pictures), rotations.Load())
		}
		var p picture
		for w := range writers {
			p.least[w] = acked[w].Load()
		}
		a := ts.do(t, "GET", backupPath, "")
		for w := range writers {
			p.utmost[w] = sent[w].Load()
		}
		switch {
		case a.status != http.StatusOK:
			t.Fatalf("backup: %d %s", a.status, a.body)
		default:
			p.file = []byte(a.body)
			opens(t, p.file, key)
			pictures = append(pictures, p)
			pictures = pictures[max(0, len(pictures)-2*backups):]
		}
	}
	cancel()
	busy.Wait()
	t.Logf("%d rotations, %d backups", rotations.Load(), len(pictures))
	for i, p := range pictures {
		again := start(t, restored(t, p.file, key), key)
		again.token, again.org = ts.token, ts.org
		got := again.values(t)
		for w := range writers {
			var n int64
			if v, ok := got[fmt.Sprint("left", w)]; ok {
				if _, err := fmt.Sscan(v, &n); err != nil {
					t.Fatal(err)
				}
			}
			if got[fmt.Sprint("left", w)] != got[fmt.Sprint("right", w)] || n < p.least[w] || n > p.utmost[w] {
				t.Errorf("backup %d: writer %d has %q and %q, want %d to %d alike", i, w,
					got[fmt.Sprint("left", w)], got[fmt.Sprint("right", w)], p.least[w], p.utmost[w])
			}
		}
		again.stop(t)
	}
}

// secondReading is a file whose content differs when it is read again.
type secondReading struct {
	*bytes.Reader
	then []byte
}

func (s *secondReading) Seek(offset int64, whence int) (int64, error) {
	s.Reader = bytes.NewReader(s.then)
	return s.Reader.Seek(offset, whence)
}

// TestRestoreTakesBack checks that a failed restore leaves nothing, neither in an
// existing folder nor new folders.
func TestRestoreTakesBack(t *testing.T) {
	key := filepath.Join(t.TempDir(), "kek")
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--key-file="+key)
	ts.setUp(t)
	for i := range 40 {
		ts.putSecret(t, fmt.Sprint("n", i), strings.Repeat("x", 200_000))
	}
	file := ts.backup(t)
	ts.stop(t)

	for name, then := range map[string][]byte{
		"cut":     file[:len(file)-10],
		"changed": append(bytes.Clone(file[:len(file)-1]), file[len(file)-1]^1),
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "a", "b")
			_, err := datadir.Restore(t.Context(), testConfig(t, dir, "--key-file="+key), &secondReading{bytes.NewReader(file), then})
			if !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("error %v", err)
			}
			if left := snapshot(t, root); len(left) != 1 {
				t.Errorf("it left %v", left)
			}

			dir = t.TempDir()
			content, err := os.ReadFile(key)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "key"), string(content))
			_, err = datadir.Restore(t.Context(), testConfig(t, dir), &secondReading{bytes.NewReader(file), then})
			if !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("error %v", err)
			}
			if left := snapshot(t, dir); len(left) != 2 || left["/key"] == "" {
				t.Errorf("it left %v", left)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := datadir.Restore(ctx, testConfig(t, dir, "--key-file="+key), bytes.NewReader(file)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if left := snapshot(t, dir); len(left) != 0 {
			t.Errorf("it left %v", left)
		}
	})
}

// TestRestoreCutShort checks that the folder of a killed restore isn't used as data.
func TestRestoreCutShort(t *testing.T) {
	dir, _ := wholeFolder(t)
	replace(t, filepath.Join(dir, "format"), "format 1", "format 1, being restored")
	refused(t, dir, "a restore into it did not finish")
	if _, err := datadir.Restore(t.Context(), testConfig(t, dir), strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "a restore into it did not finish") {
		t.Errorf("another restore: %v", err)
	}
}
