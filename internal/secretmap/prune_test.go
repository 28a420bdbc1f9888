package secretmap

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
)

// kit is one map in its own store.
type kit struct {
	*recordtest.Kit
	maps *Maps
}

const testOrg = ID(1)

func newKit(t *testing.T) *kit {
	t.Helper()
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{recordtest.New(t), m}
	t.Cleanup(func() {
		if err := check(context.Background(), k.DB, func(what string, err error) { t.Errorf("%s: %v", what, err) }); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *kit) write(t *testing.T, fn func(*Writer) error) {
	t.Helper()
	err := k.Update(t.Context(), func(tx *record.Writer) error {
		w, err := k.maps.Write(tx, testOrg, Author{}, nil)
		if err != nil {
			return err
		}
		return fn(w)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (k *kit) apply(t *testing.T, ch Change) (out Result) {
	t.Helper()
	k.write(t, func(w *Writer) (err error) {
		out, err = w.Apply(ch)
		return err
	})
	return out
}

// set gives a name another value than it has.
func (k *kit) set(t *testing.T, name string) {
	t.Helper()
	k.apply(t, Change{Set: map[string]string{name: k.Now.String()}})
}

func (k *kit) document(t *testing.T, version uint64) (d Document) {
	t.Helper()
	err := k.View(t.Context(), func(r *record.Reader) error {
		m, err := k.maps.Read(r, testOrg)
		if err == nil {
			d, _, err = m.Document(version, nil, nil)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// count returns how many records a table has.
func (k *kit) count(t *testing.T, table record.Table) (n int) {
	t.Helper()
	err := k.View(t.Context(), func(r *record.Reader) error {
		return r.ScanPrefix(record.Key(table), func([]byte, []byte) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPruneInParts makes large versions, then small ones. No small write may
// do the work of a large one, and in the end no record of the large ones may
// remain.
func TestPruneInParts(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		t.Run(fmt.Sprint("pinned=", pinned), func(t *testing.T) {
			const names = 2000
			k := newKit(t)
			for i := range 3 {
				ch := Change{Set: map[string]string{}}
				for n := range names {
					ch.Set[fmt.Sprint("n", n)] = fmt.Sprint("value ", i)
				}
				k.apply(t, ch)
			}
			if pinned { // a write that drops all but two names, then its rollback
				k.apply(t, Change{Set: map[string]string{"n0": "x", "n1": "x"}, Replace: true, Guard: true})
			}
			for range DefaultMaxVersions {
				k.Now = k.Now.Add(time.Second)
				k.set(t, "n0")
			}
			k.Now = k.Now.Add(time.Hour)
			before, most := k.count(t, record.TableSecret), 0
			for range 100 {
				k.Now = k.Now.Add(time.Minute)
				k.set(t, "n0")
				now := k.count(t, record.TableSecret)
				most = max(most, before-now)
				before = now
			}
			if most == 0 || most > 1100 { // 256 names with three values and a tombstone, and some
				t.Errorf("one write removed %d records", most)
			}
			if pinned {
				// The pinned version keeps its records until it is unpinned.
				if n := k.count(t, record.TableSecret); n < names {
					t.Errorf("%d records, the pinned version has %d", n, names)
				}
				if d := k.document(t, 3); len(d.Secrets) != names || d.Secrets[1].Value != "value 2" {
					t.Errorf("the pinned version shows %d secrets", len(d.Secrets))
				}
				k.write(t, func(w *Writer) error { return w.Unpin(3) })
				k.Now = k.Now.Add(time.Minute)
				k.set(t, "n0")
				if n := k.count(t, record.TableSecret); n > 4+DefaultMaxVersions+historyEvery { // n1 was set four times
					t.Errorf("%d records are left", n)
				}
			} else if n := k.count(t, record.TableSecret); n > 3*names+DefaultMaxVersions+historyEvery {
				t.Errorf("%d records are left for %d names", n, names)
			}
			if v, c := k.count(t, record.TableVersion), k.count(t, record.TableChanges); v > DefaultMaxVersions || c > 0 {
				t.Errorf("%d version records and %d with changes are left", v, c)
			}
		})
	}
}

// TestPruneWhileBusy makes small versions in quick succession. The number of
// old records must be bounded, and the first write after a pause must remove
// them.
func TestPruneWhileBusy(t *testing.T) {
	const kept, mergeable, pruned = DefaultMaxVersions, mergeVersions, pruneEvery
	k := newKit(t)
	for i := range 300 {
		k.Now = k.Now.Add(time.Millisecond)
		k.set(t, "n")
		if v, s := k.count(t, record.TableVersion), k.count(t, record.TableSecret); v > kept+mergeable+pruned || s > v+kept+historyEvery {
			t.Fatalf("%d version records and %d with values after %d writes", v, s, i+1)
		}
	}
	if v := k.count(t, record.TableVersion); v < kept+mergeable {
		t.Errorf("%d version records, but no write can still be merged with the oldest", v)
	}
	k.Now = k.Now.Add(time.Minute)
	k.set(t, "n")
	if v, s := k.count(t, record.TableVersion), k.count(t, record.TableSecret); v != kept || s < kept || s >= kept+historyEvery {
		t.Errorf("%d version records and %d with values are left", v, s)
	}
}

// TestDestroyPinned checks that destroying a pinned version removes its
// values.
func TestDestroyPinned(t *testing.T) {
	k := newKit(t)
	k.apply(t, Change{Set: map[string]string{"a": "1", "b": "2", "c": "3"}})
	if out := k.apply(t, Change{Set: map[string]string{}, Replace: true, Guard: true}); out.Pinned != 1 {
		t.Fatalf("version %d is pinned, want 1", out.Pinned)
	}
	k.write(t, func(w *Writer) error { return w.DestroyVersions(1) })
	if n := k.count(t, record.TableSecret); n != 0 {
		t.Errorf("%d records are left of the destroyed version", n)
	}
}

// TestSecretHistoryStays changes some names more often than others. Each keeps its
// last changes, however often the others change, and few records more. After a
// removal, all records of the name are removed.
func TestSecretHistoryStays(t *testing.T) {
	for _, limit := range []int{1, 3, DefaultMaxVersions, 40} {
		t.Run(fmt.Sprint("max_versions=", limit), func(t *testing.T) {
			k := newKit(t)
			k.write(t, func(w *Writer) error { return w.UpdateSettings(SettingsUpdate{MaxVersions: &limit}) })
			random := rand.New(rand.NewPCG(1, uint64(limit)))
			const names = 6
			want := map[string][]uint64{} // newest first
			for n := uint64(1); n <= 600; n++ {
				// The first names change often, the last ones rarely.
				name := fmt.Sprint("n", random.IntN(1+random.IntN(1+random.IntN(names))))
				k.Now = k.Now.Add(time.Minute)
				k.set(t, name)
				want[name] = slices.Insert(want[name], 0, n)
				want[name] = want[name][:min(limit, len(want[name]))]
				if n%10 > 0 {
					continue
				}
				for name, versions := range want {
					var got []uint64
					for _, c := range k.history(t, name) {
						got = append(got, c.Version)
					}
					if !slices.Equal(got, versions) {
						t.Fatalf("after %d changes, %s has the history %d, want %d", n, name, got, versions)
					}
				}
				if n%50 == 0 {
					k.maps.ClearCaches()
				}
			}
			every := max(historyEvery, limit/2)
			most := limit + every + 2 // some writes could still be merged
			if records := k.count(t, record.TableSecret); records > names*most {
				t.Errorf("%d records are left of %d names", records, names)
			}
			gone := slices.Collect(maps.Keys(want))
			gone = slices.DeleteFunc(gone, func(name string) bool { return name == "n0" })
			k.apply(t, Change{Remove: gone})
			// Until all versions that are swept are of this name.
			for range 2*limit + 2*every {
				k.Now = k.Now.Add(time.Minute)
				k.set(t, "n0")
			}
			for _, name := range gone {
				if h := k.history(t, name); len(h) > 0 {
					t.Errorf("%s was removed and has the history %+v", name, h)
				}
			}
			if records := k.count(t, record.TableSecret); records > most {
				t.Errorf("%d records are left of one name", records)
			}
		})
	}
}
