package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// TestFilesVanish removes and replaces files of a running store: it must not
// acknowledge a change that the next start would not find.
func TestFilesVanish(t *testing.T) {
	if fileIDsTellNothing {
		t.Skip("open files can't be removed here")
	}
	removeAll := func(t *testing.T, dir string, match func(name string) bool) {
		entries, err := os.ReadDir(dir)
		must(t, err)
		n := 0
		for _, e := range entries {
			if match(e.Name()) {
				err := os.Remove(filepath.Join(dir, e.Name()))
				if errors.Is(err, fs.ErrNotExist) {
					continue // a table that the engine has just removed itself
				}
				must(t, err)
				n++
			}
		}
		if n == 0 {
			t.Fatal("nothing to remove")
		}
	}
	suffix := func(s string) func(string) bool {
		return func(name string) bool { return strings.HasSuffix(name, s) }
	}
	prefix := func(s string) func(string) bool {
		return func(name string) bool { return strings.HasPrefix(name, s) }
	}
	for _, c := range []struct {
		name    string
		do      func(t *testing.T, dir string)
		restore func(t *testing.T, dir string) // undoes do
	}{
		{name: "folder removed", do: func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }},
		{name: "folder above removed", do: func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Dir(dir))) }},
		{name: "folder emptied", do: func(t *testing.T, dir string) { removeAll(t, dir, func(string) bool { return true }) }},
		{
			name:    "folder moved",
			do:      func(t *testing.T, dir string) { must(t, os.Rename(dir, dir+".moved")) },
			restore: func(t *testing.T, dir string) { must(t, os.Rename(dir+".moved", dir)) },
		},
		{name: "folder replaced by a copy", do: func(t *testing.T, dir string) {
			copyDir(t, dir, dir+".copy")
			must(t, os.RemoveAll(dir))
			must(t, os.Rename(dir+".copy", dir))
		}},
		{name: "tables removed", do: func(t *testing.T, dir string) { removeAll(t, dir, suffix(integrity.TableSuffix)) }},
		{name: "logs removed", do: func(t *testing.T, dir string) { removeAll(t, dir, suffix(integrity.LogSuffix)) }},
		{name: "manifest removed", do: func(t *testing.T, dir string) { removeAll(t, dir, prefix(integrity.ManifestPrefix)) }},
		{name: "markers removed", do: func(t *testing.T, dir string) { removeAll(t, dir, prefix(integrity.MarkerPrefix)) }},
		{name: "ledger removed", do: func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, integrity.LedgerName))) }},
		{name: "lock removed", do: func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, integrity.LockName))) }},
		{name: "log replaced by a copy", do: func(t *testing.T, dir string) {
			logs, err := filepath.Glob(filepath.Join(dir, "*"+integrity.LogSuffix))
			must(t, err)
			log := slices.Max(logs)
			b, err := os.ReadFile(log)
			must(t, err)
			must(t, os.WriteFile(log+".copy", b, 0o600))
			must(t, os.Rename(log+".copy", log))
		}},
	} {
		for _, idle := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, idle=%t", c.name, idle), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "above", "store")
				s := mustOpen(t, dir, nil)
				storetest.MustSet(t, s, "a", "1")
				must(t, s.Compact(t.Context())) // create a table
				storetest.MustSet(t, s, "b", "2")
				if !s.Metrics().Available {
					t.Fatal("the store is unavailable")
				}
				c.do(t, dir)
				if idle && s.Metrics().Available {
					t.Error("the metrics report the store as available")
				}
				err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte("c"), []byte("3")) })
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("update: %v", err)
				}
				if s.Metrics().Available {
					t.Error("the metrics report the store as available")
				}
				if c.restore == nil {
					return
				}
				c.restore(t, dir)
				mustRecover(t, s)
				storetest.MustSet(t, s, "d", "4")
				storetest.MustClose(t, s)
				s = mustOpen(t, dir, nil)
				wantPairs(t, s, "a=1", "b=2", "d=4")
			})
		}
	}
}

// TestOlderFiles replaces files of a running store by older ones, from before the
// last acknowledged change. The store must not go on from there.
func TestOlderFiles(t *testing.T) {
	if fileIDsTellNothing {
		t.Skip("open files can't be replaced here")
	}
	for _, flushed := range []bool{false, true} {
		for _, which := range []string{"*" + integrity.LogSuffix, "*"} {
			t.Run(fmt.Sprintf("%s, flushed=%t", which, flushed), func(t *testing.T) {
				if flushed && which != "*" {
					t.Skip("there is no older log")
				}
				dir, older := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "older")
				s := mustOpen(t, dir, nil)
				storetest.MustSet(t, s, "a", "1")
				copyDir(t, dir, older)
				if flushed {
					must(t, s.Compact(t.Context()))
				}
				storetest.MustSet(t, s, "a", "2")
				files, err := filepath.Glob(filepath.Join(older, which))
				must(t, err)
				for _, f := range files {
					if name := filepath.Base(f); name != integrity.LockName {
						must(t, os.Rename(f, filepath.Join(dir, name)))
					}
				}
				if err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte("b"), []byte("3")) }); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("update: %v", err)
				}
				if gen, err := s.reopen(); err == nil {
					t.Error("the older files were opened")
					gen.release()
				}
				wantPairs(t, s, "a=2")
			})
		}
	}
}

// wantPairs checks that the store contains these pairs, possibly among others.
func wantPairs(t *testing.T, s *Store, want ...string) {
	t.Helper()
	var got []string
	for _, p := range storetest.MustDump(t, s) {
		got = append(got, p.Key+"="+p.Value)
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s is missing in %q", w, got)
		}
	}
}

// TestEngineFilesAreNoAlarm checks that the engine's own file changes are not
// mistaken for foreign ones.
func TestEngineFilesAreNoAlarm(t *testing.T) {
	race.SkipSequential(t)
	t.Parallel()
	s := mustOpen(t, t.TempDir(), nil)
	value := make([]byte, 1<<20)
	for i := range 60 {
		storetest.MustUpdate(t, s, func(tx store.Tx) error { return tx.Set(fmt.Appendf(nil, "%d", i%20), value) })
		if i%20 == 0 {
			must(t, s.Compact(t.Context()))
		}
		if m := s.Metrics(); !m.Available || m.Recoveries > 0 {
			t.Fatalf("%+v", m)
		}
	}
}
