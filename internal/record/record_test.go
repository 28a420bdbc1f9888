package record_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

type object struct {
	Name string `json:"name"`
}

func view(t *testing.T, k *recordtest.Kit, fn func(*record.Reader) error) {
	t.Helper()
	if err := k.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func update(t *testing.T, k *recordtest.Kit, fn func(*record.Writer) error) {
	t.Helper()
	if err := k.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, k *recordtest.Kit, key []byte, name string) {
	t.Helper()
	update(t, k, func(w *record.Writer) error { return w.PutJSON(key, object{name}) })
}

func load(t *testing.T, k *recordtest.Kit, key []byte) (o *object, err error) {
	t.Helper()
	view(t, k, func(r *record.Reader) error {
		o, err = record.Load[object](r, key)
		return nil
	})
	return o, err
}

// sealed returns the bytes that the store has at key.
func sealed(t *testing.T, k *recordtest.Kit, key []byte) (b []byte) {
	t.Helper()
	view(t, k, func(r *record.Reader) error {
		s, err := r.Sealed(key)
		b = append(b, s...)
		return err
	})
	return b
}

func overwrite(t *testing.T, k *recordtest.Kit, key, value []byte) {
	t.Helper()
	if err := k.Store.Update(t.Context(), func(w store.Tx) error { return w.Set(key, value) }); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	k := recordtest.New(t)
	key := record.Key(record.TableOrg, 1)
	if o, err := load(t, k, key); o != nil || err != nil {
		t.Fatalf("got %v, %v of nothing", o, err)
	}
	for _, name := range []string{"first", "second"} {
		put(t, k, key, name)
		for range 2 { // decoded, then cached
			if o, err := load(t, k, key); err != nil || o.Name != name {
				t.Fatalf("got %v, %v, want %s", o, err, name)
			}
		}
	}
}

// TestLoadFollowsTheStore checks that a cached record is used only for the bytes from
// which it was decoded.
func TestLoadFollowsTheStore(t *testing.T) {
	k := recordtest.New(t)
	key, other := record.Key(record.TableUser, 1), record.Key(record.TableUser, 2)
	put(t, k, key, "first")
	first := sealed(t, k, key)
	put(t, k, key, "second")
	if o, err := load(t, k, key); err != nil || o.Name != "second" {
		t.Fatalf("got %v, %v", o, err)
	}
	overwrite(t, k, key, first)
	if o, err := load(t, k, key); err != nil || o.Name != "first" {
		t.Errorf("got %v, %v of the bytes that were put back, want first", o, err)
	}

	overwrite(t, k, other, first)
	var damage *record.DamageError
	if o, err := load(t, k, other); !errors.As(err, &damage) || !errors.Is(err, seal.ErrDamaged) || damage.What != record.Describe(other) {
		t.Errorf("got %v, %v of a record that was moved, want damage of %s", o, err, record.Describe(other))
	}
}

// TestPutDecoded checks that a write that failed is not cached as
// written.
func TestPutDecoded(t *testing.T) {
	k := recordtest.New(t)
	key := record.Key(record.TableToken, 1)
	failed := errors.New("failed")
	for _, tt := range []struct {
		name string
		end  error
		want string
	}{{"first", nil, "first"}, {"second", failed, "first"}, {"third", nil, "third"}} {
		err := k.Update(t.Context(), func(w *record.Writer) error {
			if err := w.PutDecoded(key, []byte(`{"name":"`+tt.name+`"}`), &object{tt.name}); err != nil {
				return err
			}
			return tt.end
		})
		if !errors.Is(err, tt.end) {
			t.Fatal(err)
		}
		if o, err := load(t, k, key); err != nil || o.Name != tt.want {
			t.Errorf("after %s: got %v, %v, want %s", tt.name, o, err, tt.want)
		}
	}
}

func TestRequireJSON(t *testing.T) {
	k := recordtest.New(t)
	key := record.Key(record.TableMember, 1, 2)
	view(t, k, func(r *record.Reader) error {
		if err := r.RequireJSON(key, new(object)); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("got %v of a missing record, want damage", err)
		}
		return nil
	})
	put(t, k, key, "there")
	view(t, k, func(r *record.Reader) error {
		var o object
		if err := r.RequireJSON(key, &o); err != nil || o.Name != "there" {
			t.Errorf("got %v, %v", o, err)
		}
		return nil
	})
}

func TestPrefixes(t *testing.T) {
	k := recordtest.New(t)
	const last = record.ID(1<<64 - 1)
	for _, key := range [][]byte{
		record.Key(record.TableMember, 1, 1), record.Key(record.TableMember, 1, last),
		record.Key(record.TableMember, 2, 1), record.Key(record.TableMember, last, last), record.Key(record.TableOrg, 1),
	} {
		put(t, k, key, "x")
	}
	count := func(prefix []byte) (n int) {
		view(t, k, func(r *record.Reader) error {
			return r.ScanPrefix(prefix, func([]byte, []byte) (bool, error) { n++; return true, nil })
		})
		return n
	}
	for _, tt := range []struct {
		prefix []byte
		want   int
	}{{record.Key(record.TableMember, 1), 2}, {record.Key(record.TableMember, last), 1}, {record.Key(record.TableMember), 4}} {
		if n := count(tt.prefix); n != tt.want {
			t.Errorf("%d records begin with %x, want %d", n, tt.prefix, tt.want)
		}
	}
}

// slowView is a store with something that happens around the beginning of each View.
type slowView struct {
	store.Store
	before, after func()
}

func (s *slowView) View(ctx context.Context, fn func(store.Reader) error) error {
	s.before()
	return s.Store.View(ctx, func(r store.Reader) error {
		s.after()
		return fn(r)
	})
}

// TestKeysOfView checks that a View can open its records whenever, and however often, the
// keys are replaced.
func TestKeysOfView(t *testing.T) {
	key := record.Key(record.TableOrg, 1)
	for _, when := range []string{"before its snapshot", "after it", "while it reads"} {
		k := recordtest.New(t)
		put(t, k, key, "x")
		s := &slowView{Store: k.Store, before: func() {}, after: func() {}}
		db := record.New(s, k.Keys(), func() time.Time { return k.Now })
		rotate := func() {
			old := db.Keys()
			both, err := old.WithNewKey()
			if err != nil {
				t.Fatal(err)
			}
			db.SetKeys(both)
			if err := db.Update(t.Context(), func(w *record.Writer) error { return w.Reseal(key) }); err != nil {
				t.Fatal(err)
			}
			one, err := both.WithoutKey(old.PrimaryKeyID())
			if err != nil {
				t.Fatal(err)
			}
			db.SetKeys(one)
		}
		twice := sync.OnceFunc(func() { rotate(); rotate() })
		switch when {
		case "before its snapshot":
			s.before = twice
		case "after it":
			s.after = twice
		}
		err := db.View(t.Context(), func(r *record.Reader) error {
			twice()
			_, err := record.Load[object](r, key)
			return err
		})
		if err != nil {
			t.Errorf("keys replaced %s: %v", when, err)
		}
	}
}

func TestNewID(t *testing.T) {
	k := recordtest.New(t)
	seen := map[record.ID]bool{}
	update(t, k, func(w *record.Writer) error {
		clear(seen) // an earlier run does not count
		for range 100 {
			id, err := w.NewID(record.TableUser)
			if err != nil || seen[id] || id == 0 {
				t.Fatalf("ID %s: seen before, or %v", id, err)
			}
			seen[id] = true
			if err := w.PutJSON(record.Key(record.TableUser, id), object{}); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestDescribe(t *testing.T) {
	// A key can have any length in a store that somebody has changed.
	for table := range 256 {
		for n := range 40 {
			key := make([]byte, n)
			if n > 0 {
				key[0] = byte(table)
			}
			if record.Describe(key) == "" {
				t.Errorf("%x has no description", key)
			}
		}
	}
}
