package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// head stands in for secretmap's head record.
type head struct {
	Sums record.MapSums `json:"sums"`
	N    int            `json:"n"`
}

// putHead ends a change of map m of an organization.
func putHead(w *record.Writer, org, m record.ID) error {
	key := record.Key(record.TableHead, org)
	h := head{}
	old, err := record.Load[head](&w.Reader, key)
	if err != nil {
		return err
	}
	if old != nil {
		h = *old
	}
	h.N++
	h.Sums = h.Sums.Plus(w.MapChanges(org, m))
	return w.PutJSON(key, h)
}

// sumHeads is the argument of Prepare and Accept, with map m of organization m.
func sumHeads(w *record.Writer) error {
	return w.ScanIDs(record.TableHead, func(org record.ID) error {
		key := record.Key(record.TableHead, org)
		h, err := record.Load[head](&w.Reader, key)
		if err != nil {
			return err
		}
		now := *h
		if now.Sums, err = w.MapSums(org, org); err != nil {
			return err
		}
		return w.PutJSON(key, now)
	})
}

// wrong lists the damage that VerifySums and the sums of maps report.
func wrong(t *testing.T, k *recordtest.Kit) (names []string) {
	t.Helper()
	view(t, k, func(r *record.Reader) error {
		_, err := r.VerifySums(func(d *record.DamageError) { names = append(names, d.What) })
		if err != nil {
			return err
		}
		for org := range record.ID(4) {
			h, err := record.Load[head](r, record.Key(record.TableHead, org))
			if err != nil {
				continue // VerifySums has reported it
			}
			if h == nil {
				h = &head{} // nothing may be left of a deleted map
			}
			if sums, err := r.MapSums(org, org); err != nil || sums != h.Sums {
				names = append(names, fmt.Sprint("map ", org))
			}
		}
		return nil
	})
	return names
}

// raw returns all records of the store.
func raw(t *testing.T, k *recordtest.Kit) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := k.Store.View(t.Context(), func(r store.Reader) error {
		return r.Scan(nil, nil, func(key, value []byte) (bool, error) {
			all[string(key)] = bytes.Clone(value)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// change makes one random change of a small store.
func change(w *record.Writer, random *rand.Rand) error {
	id, other := record.ID(1+random.IntN(3)), record.ID(1+random.IntN(3))
	object := func(key []byte) error {
		if random.IntN(3) == 0 {
			return w.Delete(key)
		}
		return w.PutJSON(key, map[string]int{"n": random.Int()})
	}
	version := random.Uint64()
	switch random.IntN(8) {
	case 0:
		return object(record.Key(record.TableUser, id))
	case 1:
		return object(record.Key(record.TableMember, id, other))
	case 2:
		return object(record.HashKey(record.TableSession, record.Hash{byte(id)}))
	case 3:
		return object(record.Key(record.TableCheckpoint))
	case 4:
		if random.IntN(2) == 0 {
			var keys [][]byte
			err := w.ScanPrefix(record.Key(record.TableOutbox), func(key, _ []byte) (bool, error) {
				if random.IntN(3) > 0 {
					keys = append(keys, bytes.Clone(key), binaryKey(record.TableOutbox, random.Uint64()))
				}
				return true, nil
			})
			return errors.Join(err, w.RemoveAll(keys))
		}
		return w.Put(binaryKey(record.TableOutbox, version), nil)
	case 5:
		return w.DeleteMap(id, id)
	case 6:
		if err := object(record.Key(record.TableState, id)); err != nil {
			return err
		}
	default:
		for range 1 + random.IntN(3) {
			key := record.SecretKey(id, record.Hash{byte(other)}, random.Uint64())
			if err := w.Put(key, []byte("secret")); err != nil {
				return err
			}
			if random.IntN(3) == 0 {
				if err := w.Delete(key); err != nil {
					return err
				}
			}
		}
		if err := w.Put(record.VersionKey(id, version), []byte("version")); err != nil {
			return err
		}
	}
	return putHead(w, id, id)
}

func binaryKey(table record.Table, n uint64) []byte { return record.Key(table, record.ID(n)) }

// TestSumsFollowChanges checks that the sums match the records after any change.
func TestSumsFollowChanges(t *testing.T) {
	for seed := range uint64(5) {
		k := recordtest.New(t)
		random := rand.New(rand.NewPCG(seed, 1))
		failed := errors.New("failed")
		for i := range 200 {
			err := k.Update(t.Context(), func(w *record.Writer) error {
				for range 1 + i%3 {
					if err := change(w, random); err != nil {
						return err
					}
				}
				if random.IntN(8) == 0 {
					return failed
				}
				return nil
			})
			if err != nil && !errors.Is(err, failed) {
				t.Fatal(err)
			}
			if i%20 != 0 {
				continue
			}
			if names := wrong(t, k); len(names) > 0 {
				t.Fatalf("seed %d, change %d: the sums are wrong at %q", seed, i, names)
			}
		}
	}
}

// TestReseal checks that encrypting a record again changes no sum.
func TestReseal(t *testing.T) {
	k := recordtest.New(t)
	random := rand.New(rand.NewPCG(7, 7))
	for range 100 {
		update(t, k, func(w *record.Writer) error { return change(w, random) })
	}
	before := raw(t, k)
	update(t, k, func(w *record.Writer) error {
		for key := range before {
			if err := w.Reseal([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
	for key, sealed := range raw(t, k) {
		if bytes.Equal(sealed, before[key]) {
			t.Errorf("%s was not encrypted again", record.Describe([]byte(key)))
		}
	}
	k.ClearCache()
	if names := wrong(t, k); len(names) > 0 {
		t.Errorf("the sums are wrong at %q", names)
	}
}

// TestForgottenSums checks that a change of a map without a change of its head is
// refused.
func TestForgottenSums(t *testing.T) {
	k := recordtest.New(t)
	for _, key := range [][]byte{record.SecretKey(1, record.Hash{}, 1), record.VersionKey(1, 1), record.Key(record.TableState, 1)} {
		if err := k.Update(t.Context(), func(w *record.Writer) error { return w.Put(key, []byte("x")) }); err == nil {
			t.Errorf("%s was written without its head", record.Describe(key))
		}
	}
}

// tampering removes one record, or reverts it to earlier content.
type tampering struct {
	key   string
	value []byte // nil: missing
}

// TestTampering removes and reverts each record and pairs of records of a small store,
// through the store itself.
func TestTampering(t *testing.T) {
	k := recordtest.New(t)
	random := rand.New(rand.NewPCG(3, 3))
	states := []map[string][]byte{raw(t, k)}
	for range 40 {
		update(t, k, func(w *record.Writer) error { return change(w, random) })
		states = append(states, raw(t, k))
	}
	now := states[len(states)-1]
	var ways []tampering
	seen := map[string]bool{}
	for _, s := range states[:len(states)-1] {
		for key, value := range s {
			if !bytes.Equal(now[key], value) && !seen[key+string(value)] {
				seen[key+string(value)] = true
				ways = append(ways, tampering{key, value})
			}
		}
	}
	for key := range now {
		ways = append(ways, tampering{key, nil})
	}
	slices.SortFunc(ways, func(a, b tampering) int {
		return bytes.Compare([]byte(a.key+string(a.value)), []byte(b.key+string(b.value)))
	})
	set := func(key string, value []byte) {
		t.Helper()
		err := k.Store.Update(t.Context(), func(w store.Tx) error {
			if value == nil {
				return w.Delete([]byte(key))
			}
			return w.Set([]byte(key), value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tried := 0
	try := func(ways ...tampering) {
		t.Helper()
		tried++
		for _, w := range ways {
			set(w.key, w.value)
		}
		if names := wrong(t, k); len(names) == 0 {
			for _, w := range ways {
				t.Errorf("unnoticed: %s, missing: %v", record.Describe([]byte(w.key)), w.value == nil)
			}
		}
		for _, w := range ways {
			set(w.key, now[w.key])
		}
	}
	for i, a := range ways {
		try(a)
		for _, b := range ways[i+1:] {
			// All pairs would take minutes. The seed chooses the same ones each time.
			if a.key != b.key && (!testing.Short() || random.IntN(20) == 0) {
				try(a, b)
			}
		}
	}
	if names := wrong(t, k); len(names) > 0 {
		t.Fatalf("the store is not as it was: %q", names)
	}
	t.Logf("tried %d ways", tried)
	if tried < 200 {
		t.Errorf("only %d ways to tamper were tried", tried)
	}
}

// TestDistrust checks that exactly the untrusted records are refused.
func TestDistrust(t *testing.T) {
	k := recordtest.New(t)
	const users = 300
	user := func(id int) []byte { return record.Key(record.TableUser, record.ID(id)) }
	for id := 1; id <= users; id++ {
		put(t, k, user(id), "old")
	}
	old := sealed(t, k, user(7))
	put(t, k, user(7), "new")
	overwrite(t, k, user(7), old)
	var names []string
	view(t, k, func(r *record.Reader) error {
		suspects, err := r.VerifySums(func(d *record.DamageError) { names = append(names, d.What) })
		k.Distrust(suspects, nil)
		return err
	})
	if !slices.Contains(names, record.Describe(user(7))) || len(names) > 3 {
		t.Errorf("named %q, want user 7 and hardly another", names)
	}
	refused := 0
	for id := 1; id <= users; id++ {
		o, err := load(t, k, user(id))
		if damage := (*record.DamageError)(nil); errors.As(err, &damage) {
			refused++
		} else if err != nil || o.Name != "old" {
			t.Errorf("user %d: %v, %v", id, o, err)
		} else if id == 7 {
			t.Error("the old record of user 7 was believed")
		}
	}
	if refused != len(names) {
		t.Errorf("%d users are refused and %d named", refused, len(names))
	}

	if err := k.Accept(t.Context(), sumHeads); err != nil {
		t.Fatal(err)
	}
	if o, err := load(t, k, user(7)); err != nil || o.Name != "old" {
		t.Errorf("after accepting: %v, %v", o, err)
	}
	if names := wrong(t, k); len(names) > 0 {
		t.Errorf("after accepting, still wrong: %q", names)
	}
}

// TestPrepare checks that a store from a version without sums gets them, and one whose
// sums were removed doesn't.
func TestPrepare(t *testing.T) {
	k := recordtest.New(t)
	random := rand.New(rand.NewPCG(5, 5))
	for range 100 {
		update(t, k, func(w *record.Writer) error { return change(w, random) })
	}
	remove := func(keys ...[]byte) {
		for _, key := range keys {
			if err := k.Store.Update(t.Context(), func(w store.Tx) error { return w.Delete(key) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, directory := record.Key(record.TableRoot), record.Key(record.TableDirectory)
	prepare := func() error { return k.Prepare(t.Context(), sumHeads) }
	if err := prepare(); err != nil {
		t.Errorf("a store that has sums: %v", err)
	}
	remove(root)
	if err := prepare(); err != nil {
		t.Errorf("the root was removed, which VerifySums tells: %v", err)
	}
	if names := wrong(t, k); len(names) == 0 {
		t.Error("a missing root goes unnoticed")
	}
	remove(directory)
	if damage := (*record.DamageError)(nil); !errors.As(prepare(), &damage) {
		t.Error("removed sums were written again")
	}
	everything := raw(t, k)
	for key := range everything {
		if record.TableOf([]byte(key)) == record.TableHead {
			remove([]byte(key))
		}
	}
	if damage := (*record.DamageError)(nil); !errors.As(prepare(), &damage) {
		t.Error("sums were written again after all sums and heads were removed")
	}
	for key, sealed := range everything {
		overwrite(t, k, []byte(key), sealed)
	}
	// As a version without sums wrote it.
	for key, sealed := range raw(t, k) {
		plain, err := record.Open(k.Keys(), []byte(key), sealed)
		if err == nil {
			sealed, err = k.Keys().Seal(plain, []byte(key))
		}
		if err == nil {
			err = k.Store.Update(t.Context(), func(s store.Tx) error { return s.Set([]byte(key), sealed) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := prepare(); err != nil {
		t.Fatal(err)
	}
	if names := wrong(t, k); len(names) > 0 {
		t.Errorf("the new sums are wrong at %q", names)
	}
}

// TestEveryTableHasSums checks that every table has sums: records of an unknown table
// would make all sums wrong.
func TestEveryTableHasSums(t *testing.T) {
	k := recordtest.New(t)
	for table := range 256 {
		key := record.Key(record.Table(table), 1)
		if strings.Contains(record.Describe(key), "unknown table") || table == int(record.TableRoot) || table == int(record.TableKeyset) {
			continue
		}
		update(t, k, func(w *record.Writer) error {
			if record.Table(table) != record.TableHead {
				if err := w.Put(key, []byte(`{}`)); err != nil || strings.IndexByte("svcm", byte(table)) < 0 {
					return err
				}
			}
			return putHead(w, 1, 1)
		})
		if names := wrong(t, k); len(names) > 0 {
			t.Fatalf("after a record of table %q: the sums are wrong at %q", string(rune(table)), names)
		}
	}
}
