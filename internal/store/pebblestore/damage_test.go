package pebblestore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

const damageKeys = 3000

func damageKey(i int) []byte   { return fmt.Appendf(nil, "key/%05d", i) }
func damageValue(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "value %05d;", i), 10) }

// damageStores creates stores in every state that a folder can be in, and
// returns their folders.
func damageStores(tb testing.TB) map[string]string {
	tb.Helper()
	dir := tb.TempDir()
	live := filepath.Join(dir, "live")
	s := mustOpen(tb, live, nil)
	set := func(from, to int) {
		for i := from; i < to; {
			storetest.MustUpdate(tb, s, func(tx store.Tx) error {
				for end := min(i+50, to); i < end; i++ {
					if err := tx.Set(damageKey(i), damageValue(i)); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	folders := map[string]string{}
	keep := func(name string) {
		folders[name] = filepath.Join(dir, name)
		copyDir(tb, live, folders[name])
	}
	set(0, damageKeys/2)
	if err := s.Compact(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	set(damageKeys/2, damageKeys*3/4)
	reopenRaw := func() {
		storetest.MustClose(tb, s)
		s = mustOpen(tb, live, nil)
	}
	reopenRaw()
	set(damageKeys*3/4, damageKeys)
	waitForRest(tb, s)
	keep("crashed") // with a log to replay, all of it known to be durable
	storetest.MustClose(tb, s)
	keep("closed")
	return folders
}

// waitForRest waits until the ledger says that the whole log is durable.
func waitForRest(tb testing.TB, s *Store) {
	tb.Helper()
	gen := s.gen.Load()
	log := gen.disk.newestLog.Load()
	waitFor(tb, "the store to be at rest", func() bool {
		n := gen.ledger.LogLen()
		return n > 0 && n == log.synced.Load()
	})
}

// readAll reads all keys with Get and Scan, and returns how many were damaged.
func readAll(tb testing.TB, s *Store) (damaged int) {
	tb.Helper()
	storetest.MustView(tb, s, func(r store.Reader) error {
		var de *store.CorruptError
		// Not every key: the engine is slow on a damaged block, because it
		// searches for the flipped bit.
		for i := 0; i < damageKeys; i += 7 {
			v, err := r.Get(damageKey(i))
			switch {
			case errors.As(err, &de):
				damaged++
				if de.What == "" || strings.Contains(err.Error(), "carrier") {
					tb.Errorf("%v does not say what is damaged, or not in plain words", err)
				}
			case err != nil:
				tb.Errorf("key %d: %v", i, err)
			case !bytes.Equal(v, damageValue(i)):
				tb.Errorf("key %d has the value %q", i, v)
			}
		}
		i := 0
		err := r.Scan(nil, nil, func(k, v []byte) (bool, error) {
			if !bytes.Equal(k, damageKey(i)) || !bytes.Equal(v, damageValue(i)) {
				tb.Errorf("scan: key %d is %q=%q", i, k, v)
			}
			i++
			return true, nil
		})
		switch {
		case errors.As(err, &de):
			if damaged == 0 {
				damaged++
			}
		case err != nil:
			tb.Errorf("scan: %v", err)
		case i != damageKeys:
			tb.Errorf("scan ended after %d keys without an error", i)
		}
		// Scan may succeed where Get failed: it needs no filters.
		return nil
	})
	return damaged
}

// contents returns the content of all files in a folder.
func contents(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // the engine has removed it
		}
		if err != nil {
			tb.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

// openDamaged opens a damaged folder. If that fails, the error must name the
// damage and the folder must be unchanged.
func openDamaged(tb testing.TB, dir string) (*Store, error) {
	tb.Helper()
	before := contents(tb, dir)
	s, err := Open(dir, nil)
	if err != nil {
		var de *store.CorruptError
		if !errors.As(err, &de) {
			tb.Errorf("open: %v", err)
		}
		after := contents(tb, dir)
		if !maps.Equal(before, after) {
			tb.Errorf("open failed with %v and changed the folder from %v to %v", err,
				slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
		}
		return nil, err
	}
	return s, nil
}

// TestDamage damages one thing at a time.
func TestDamage(t *testing.T) {
	t.Parallel()
	folders := damageStores(t)
	flip := func(b []byte, at int) []byte { b = bytes.Clone(b); b[at] ^= 0x10; return b }
	middle := func(b []byte) []byte { return flip(b, len(b)/2) }
	remove := func([]byte) []byte { return nil }
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }
	cases := []struct {
		folder, file, name string
		damage             func([]byte) []byte
		opens              bool
	}{
		{"crashed", ".log", "first byte of the log", func(b []byte) []byte { return flip(b, 0) }, false},
		{"crashed", ".log", "middle of the log", middle, false},
		{"crashed", ".log", "number in the log", func(b []byte) []byte { return flip(b, 7) }, false},
		{"crashed", ".log", "end of the log", func(b []byte) []byte { return flip(b, len(b)-1) }, false},
		{"crashed", ".log", "log cut off", cut(100), false},
		{"crashed", ".log", "log gone", remove, false},
		{"crashed", ".log", "log zeroed", func(b []byte) []byte { return make([]byte, len(b)) }, false},
		{"crashed", "MANIFEST", "middle of the manifest", middle, false},
		{"crashed", "MANIFEST", "end of the manifest", func(b []byte) []byte { return flip(b, len(b)-1) }, false},
		{"crashed", "MANIFEST", "manifest cut off", cut(1), false},
		{"crashed", "MANIFEST", "manifest gone", remove, false},
		{"crashed", "MANIFEST", "manifest empty", func([]byte) []byte { return []byte{} }, false},
		{"crashed", "marker.manifest", "marker gone", remove, false},
		{"crashed", "marker.format", "format marker gone", remove, false},
		{"crashed", ".sst", "table gone", remove, false},
		{"crashed", ".sst", "table cut off", cut(1), false},
		{"crashed", ".sst", "middle of a table", middle, true},
		{"crashed", ".sst", "end of a table", func(b []byte) []byte { return flip(b, len(b)-3) }, true},
		{"crashed", integrity.LedgerName, "ledger missing", remove, false},
		{"crashed", integrity.LedgerName, "ledger empty", func([]byte) []byte { return []byte{} }, false},
		{"crashed", integrity.LedgerName, "one slot of the ledger", func(b []byte) []byte { return flip(b, 20) }, true},
		{"crashed", integrity.LedgerName, "both slots of the ledger", func(b []byte) []byte { return flip(flip(b, 20), 4<<10+20) }, false},
		{"closed", "MANIFEST", "manifest of a closed store", middle, false},
		{"closed", ".sst", "table of a closed store", middle, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "db")
			copyDir(t, folders[c.folder], dir)
			found := false
			for name, content := range contents(t, dir) {
				if !strings.HasPrefix(name, c.file) && !strings.HasSuffix(name, c.file) ||
					len(content) == 0 && !strings.HasPrefix(name, "marker") {
					continue
				}
				found = true
				path := filepath.Join(dir, name)
				if b := c.damage([]byte(content)); b == nil {
					must(t, os.Remove(path))
				} else {
					must(t, os.WriteFile(path, b, 0o600))
				}
			}
			if !found {
				t.Fatalf("no file %s to damage", c.file)
			}
			s, err := openDamaged(t, dir)
			if (err == nil) != c.opens {
				t.Fatalf("open: %v", err)
			}
			if err != nil {
				t.Log(err)
				return
			}
			damaged := readAll(t, s)
			if (c.file == integrity.TableSuffix) != (damaged > 0) || damaged >= damageKeys/7 {
				t.Errorf("%d of %d keys are damaged", damaged, damageKeys)
			}
			// Changes still work, and can be read back.
			storetest.MustSet(t, s, "x", "y")
			storetest.MustClose(t, s)
			s = mustOpen(t, dir, nil)
			if again := readAllBut(t, s, "x"); again != damaged {
				t.Errorf("%d keys are damaged after reopening, %d before", again, damaged)
			}
		})
	}
}

// readAllBut deletes key and then reads all.
func readAllBut(tb testing.TB, s *Store, key string) int {
	tb.Helper()
	storetest.MustUpdate(tb, s, func(tx store.Tx) error { return tx.Delete([]byte(key)) })
	return readAll(tb, s)
}

// TestDamageAnywhere flips random bits in random files.
func TestDamageAnywhere(t *testing.T) {
	race.SkipSequential(t)
	t.Parallel()
	folders := damageStores(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := 300
	if testing.Short() {
		rounds = 40
	}
	refused, hidden := 0, 0
	for range rounds {
		folder := folders[[]string{"crashed", "closed"}[rng.IntN(2)]]
		dir := filepath.Join(t.TempDir(), "db")
		copyDir(t, folder, dir)
		all := contents(t, dir)
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(n string) bool { return len(all[n]) == 0 })
		name := names[rng.IntN(len(names))]
		b := []byte(all[name])
		at, bit := rng.IntN(len(b)), rng.IntN(8)
		b[at] ^= 1 << bit
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))

		s, err := openDamaged(t, dir)
		if err != nil {
			refused++
		} else {
			if readAll(t, s) == 0 {
				hidden++
			}
			storetest.MustSet(t, s, "x", "y")
			storetest.MustClose(t, s)
		}
		if t.Failed() {
			t.Fatalf("bit %d of byte %d of %d in %s (%s)", bit, at, len(b), name, filepath.Base(folder))
		}
		must(t, os.RemoveAll(dir))
	}
	t.Logf("%d folders were refused, %d showed no damage", refused, hidden)
}

// TestTornTail cuts off the last change of a log in various ways, as a crash
// does: the store must open with all other changes.
func TestTornTail(t *testing.T) {
	race.SkipSequential(t)
	t.Parallel()
	const block = 32 << 10 // of Pebble's log
	dir := t.TempDir()
	live := filepath.Join(dir, "live")
	s := mustOpen(t, live, nil)
	log := func() string { return filepath.Join(live, s.gen.Load().disk.newestLog.Load().name) }
	rest := &s.gen.Load().restMu
	rest.Lock() // the ledger must not cover the last change
	storetest.MustSet(t, s, "a", "1")
	storetest.MustSet(t, s, "b", strings.Repeat("2", block-3000))
	before, err := os.ReadFile(log())
	must(t, err)
	// From the end of one block, through the next, into a third. On a bad
	// checksum Pebble searches the chunk for the flipped bit, which takes time
	// quadratic in its size, so only one chunk is large.
	storetest.MustSet(t, s, "c", strings.Repeat("3", block+5000))
	after, err := os.ReadFile(log())
	must(t, err)
	crashed := filepath.Join(dir, "crashed")
	copyDir(t, live, crashed)
	name := filepath.Base(log())
	rest.Unlock()
	storetest.MustClose(t, s)

	rng := rand.New(rand.NewPCG(1, 2))
	tails := map[string][]byte{"nothing": before}
	first := block - len(before)%block // bytes of the change in the first block
	if first < 1000 || first+block+1000 > len(after)-len(before) {
		t.Fatalf("the change of %d bytes begins at %d", len(after)-len(before), len(before))
	}
	for _, n := range []int{1, 18, 19, 1000, first, first + 4096, first + block, first + block + 1000, len(after) - len(before) - 1} {
		tails[fmt.Sprintf("first %d bytes", n)] = after[:len(before)+n]
		zeros := append(bytes.Clone(after[:len(before)+n]), make([]byte, len(after)-len(before)-n)...)
		tails[fmt.Sprintf("first %d bytes and zeros", n)] = zeros
		garbage := bytes.Clone(zeros)
		for i := len(before) + n; i < len(garbage); i++ {
			garbage[i] = byte(rng.Uint32())
		}
		tails[fmt.Sprintf("first %d bytes and garbage", n)] = garbage
		late := append(bytes.Clone(before), make([]byte, len(after)-len(before))...)
		copy(late[len(before)+n:], after[len(before)+n:])
		tails[fmt.Sprintf("all but the first %d bytes", n)] = late
	}
	for what, content := range tails {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "db")
			copyDir(t, crashed, dir)
			must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
			s, err := Open(dir, nil)
			must(t, err)
			defer s.Close()
			got := storetest.MustDump(t, s)
			if len(got) != 2 || got[0].Value != "1" || len(got[1].Value) != block-3000 {
				t.Errorf("got %d pairs", len(got))
			}
		})
	}
}

// TestLocked opens a store that is already open, in this process and in
// another.
func TestLocked(t *testing.T) {
	const env = "PEBBLESTORE_TEST_LOCKED"
	if dir := os.Getenv(env); dir != "" {
		if _, err := Open(dir, nil); errors.Is(err, store.ErrLocked) {
			os.Exit(7)
		}
		os.Exit(8)
	}
	dir := t.TempDir()
	s := mustOpen(t, dir, nil)
	if _, err := Open(dir, nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("open in the same process: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLocked$")
	cmd.Env = append(os.Environ(), env+"="+dir)
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("open in another process: %v", err)
	}
	storetest.MustSet(t, s, "a", "1")
	storetest.MustClose(t, s)
	s = mustOpen(t, dir, nil)
	storetest.MustSet(t, s, "a", "2")
}

// TestRefusedOpenLeavesTheLock opens stores that are in use or damaged: the
// lock file must stay as it is, or stay missing.
func TestRefusedOpenLeavesTheLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	s := mustOpen(t, dir, nil)
	storetest.MustSet(t, s, "a", "1")
	lock := filepath.Join(dir, integrity.LockName)
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	refused := func(what string) {
		t.Helper()
		must(t, os.Chtimes(lock, old, old))
		if s, err := Open(dir, nil); err == nil {
			t.Errorf("%s: open succeeded", what)
			storetest.MustClose(t, s)
		}
		if info, err := os.Stat(lock); err != nil || !info.ModTime().Equal(old) {
			t.Errorf("%s: the lock file was written: %v", what, err)
		}
	}
	refused("open")
	storetest.MustClose(t, s)
	current, err := filepath.Glob(filepath.Join(dir, "marker.manifest.*"))
	if err != nil || len(current) != 1 {
		t.Fatalf("markers %q, %v", current, err)
	}
	must(t, os.Rename(current[0], current[0]+"x"))
	refused("damaged")
	must(t, os.Remove(lock))
	before := contents(t, dir)
	if _, err := Open(dir, nil); err == nil {
		t.Error("it opens")
	}
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("a refused open left files behind")
	}
	must(t, os.Rename(current[0]+"x", current[0]))
	s = mustOpen(t, dir, nil)
	storetest.MustSet(t, s, "a", "2")
}

// TestNewerFormat opens a folder written by a newer version.
func TestNewerFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	s := mustOpen(t, dir, nil)
	storetest.MustSet(t, s, "a", "1")
	storetest.MustClose(t, s)
	marker := fmt.Sprintf("marker.format-version.000099.%03d", pebble.FormatNewest+1)
	must(t, os.WriteFile(filepath.Join(dir, marker), nil, 0o600))
	before := contents(t, dir)
	_, err := Open(dir, nil)
	var de *store.CorruptError
	if err == nil || errors.As(err, &de) || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "another version") {
		t.Errorf("open: %v", err)
	}
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Error("the folder was changed")
	}
}

// TestForeignFolder opens folders that belong to something else.
func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600))
	before := contents(t, dir)
	if _, err := Open(dir, nil); err == nil {
		t.Error("open created a store among foreign files")
	}
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Errorf("the folder was changed: %v", slices.Sorted(maps.Keys(after)))
	}
	if _, err := Open(filepath.Join(dir, "notes.txt"), nil); err == nil {
		t.Error("open accepted a file as a folder")
	}
}

// TestNewFolder checks the mode of a new folder.
func TestNewFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	mustOpen(t, dir, nil)
	info, err := os.Stat(dir)
	must(t, err)
	if mode := info.Mode().Perm(); mode != 0o700 {
		t.Errorf("mode is %v", mode)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
