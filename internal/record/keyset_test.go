package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

func TestKeysetInStore(t *testing.T) {
	open := func() store.Store {
		s, err := pebblestore.Open(t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s := open()
	if _, err := record.LoadKeyset(t.Context(), s); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("an empty store: %v", err)
	}
	// Servers that start at the same time agree.
	got := make([]record.StoredKeyset, 4)
	var servers sync.WaitGroup
	for i := range got {
		servers.Go(func() {
			var err error
			if got[i], err = record.CreateKeyset(t.Context(), s, []byte{byte(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	servers.Wait()
	stored, err := record.LoadKeyset(t.Context(), s)
	if err != nil || stored.Number != 1 {
		t.Fatalf("%+v, %v", stored, err)
	}
	for i, k := range got {
		if k.Number != 1 || string(k.Wrapped) != string(stored.Wrapped) {
			t.Errorf("server %d uses %+v, and the store has %+v", i, k, stored)
		}
	}
	second := record.StoredKeyset{Number: 2, Wrapped: []byte("second")}
	if err := record.ReplaceKeyset(t.Context(), s, stored, second); err != nil {
		t.Fatal(err)
	}
	if err := record.ReplaceKeyset(t.Context(), s, stored, record.StoredKeyset{Number: 2, Wrapped: []byte("other")}); !errors.Is(err, record.ErrKeysetChanged) {
		t.Errorf("a keyset that is no longer there was replaced: %v", err)
	}

	// A store that has lost its keyset never gets another one.
	lost := open()
	if err := lost.Update(t.Context(), func(tx store.Tx) error { return tx.Set(record.Key(record.TableUser, 1), []byte("x")) }); err != nil {
		t.Fatal(err)
	}
	if _, err := record.LoadKeyset(t.Context(), lost); errors.Is(err, store.ErrNotFound) || !errors.As(err, new(*record.DamageError)) {
		t.Errorf("a store without its keyset: %v", err)
	}
	if _, err := record.CreateKeyset(t.Context(), lost, []byte("new")); !errors.As(err, new(*record.DamageError)) {
		t.Errorf("a new keyset was put into a store with records: %v", err)
	}
}

// TestKeysetOfAnOldState reads a state from before another server has changed the keyset,
// when this server uses the new one already.
func TestKeysetOfAnOldState(t *testing.T) {
	k := recordtest.New(t)
	first := record.StoredKeyset{Number: 1, Wrapped: []byte("first")}
	keys := map[string]*seal.Keys{"first": k.Keys(), "second": recordtest.New(t).Keys()}
	if err := k.Store.Update(t.Context(), putKeyset(first)); err != nil {
		t.Fatal(err)
	}
	key := record.Key(record.TableUser, 1)
	if err := k.Update(t.Context(), func(w *record.Writer) error { return w.PutJSON(key, object{Name: "x"}) }); err != nil {
		t.Fatal(err)
	}
	opened := 0
	db := record.New(k.Store, k.Keys(), k.DB.Now)
	db.FollowKeyset(first, func(_ context.Context, wrapped []byte) (*seal.Keys, error) {
		opened++
		return keys[string(wrapped)], nil
	})
	uses := func(r *record.Reader, name string) {
		t.Helper()
		if used, wrapped, err := r.Keyset(); err != nil || used != keys[name] || string(wrapped) != name {
			t.Errorf("the transaction doesn't use the %s keys, but those wrapped as %q, %v", name, wrapped, err)
		}
	}
	if err := db.View(t.Context(), func(r *record.Reader) error {
		uses(r, "first")
		if err := record.ReplaceKeyset(t.Context(), k.Store, first, first.Next([]byte("second"))); err != nil {
			return err
		}
		if err := db.View(t.Context(), func(r *record.Reader) error { uses(r, "second"); return nil }); err != nil {
			return err
		}
		uses(r, "first")
		_, err := record.Load[object](r, key)
		return err
	}); err != nil {
		t.Error(err)
	}
	if opened != 1 {
		t.Errorf("keysets were opened %d times, want once: the first one is known", opened)
	}
}

// TestKeysetOfAnotherStore empties the store of a server, as an operator can do in etcd, and
// puts another first keyset there: the server doesn't take it for the one that it knows.
func TestKeysetOfAnotherStore(t *testing.T) {
	create := func(ctx context.Context, s store.Store, wrapped []byte) error {
		_, err := record.CreateKeyset(ctx, s, wrapped)
		return err
	}
	restore := func(ctx context.Context, s store.Store, wrapped []byte) error {
		return errors.Join(record.RestoreKeyset(ctx, s, wrapped), record.EndRestore(ctx, s))
	}
	for name, second := range map[string]func(context.Context, store.Store, []byte) error{"created": create, "restored": restore} {
		t.Run(name, func(t *testing.T) {
			k := recordtest.New(t)
			keys := map[string]*seal.Keys{"first": k.Keys(), "second": recordtest.New(t).Keys()}
			empty := func() error {
				return k.Store.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteRange([]byte{0}, nil) })
			}
			if err := empty(); err != nil {
				t.Fatal(err)
			}
			first, err := record.CreateKeyset(t.Context(), k.Store, []byte("first"))
			if err != nil {
				t.Fatal(err)
			}
			db := record.New(k.Store, k.Keys(), k.DB.Now)
			db.FollowKeyset(first, func(_ context.Context, wrapped []byte) (*seal.Keys, error) { return keys[string(wrapped)], nil })
			if err := errors.Join(empty(), second(t.Context(), k.Store, []byte("second"))); err != nil {
				t.Fatal(err)
			}
			if err := db.View(t.Context(), func(r *record.Reader) error {
				if used, wrapped, err := r.Keyset(); err != nil || used != keys["second"] {
					t.Errorf("the server doesn't use the keys of the keyset %q, %v", wrapped, err)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// losing is a store that runs a change together with the one that before makes, and
// loses both. Then it runs the change alone.
type losing struct {
	store.Store
	before func(store.Tx) error
}

func (l *losing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if before := l.before; before != nil {
		l.before = nil
		lost := errors.New("lost")
		err := l.Store.Update(ctx, func(tx store.Tx) error {
			if err := errors.Join(before(tx), fn(tx)); err != nil {
				return err
			}
			return lost
		})
		if !errors.Is(err, lost) {
			return err
		}
	}
	return l.Store.Update(ctx, fn)
}

// putKeyset returns a change that sets the keyset, whatever is there.
func putKeyset(k record.StoredKeyset) func(store.Tx) error {
	return func(tx store.Tx) error {
		data, err := json.Marshal(k)
		if err != nil {
			return err
		}
		return tx.Set(record.Key(record.TableKeyset), data)
	}
}

// TestKeysetThatWasLost changes the keyset together with a record, and both changes are
// lost. Nothing is sealed with the lost keys afterwards.
func TestKeysetThatWasLost(t *testing.T) {
	k := recordtest.New(t)
	first := record.StoredKeyset{Number: 1, Wrapped: []byte("first")}
	keys := map[string]*seal.Keys{"first": k.Keys()}
	for _, name := range []string{"lost", "second"} {
		next, err := k.Keys().WithNewKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = next
	}
	if err := k.Store.Update(t.Context(), putKeyset(first)); err != nil {
		t.Fatal(err)
	}
	s := &losing{Store: k.Store}
	server := func() *record.DB {
		db := record.New(s, keys["first"], k.DB.Now)
		db.FollowKeyset(record.StoredKeyset{}, func(_ context.Context, wrapped []byte) (*seal.Keys, error) { return keys[string(wrapped)], nil })
		return db
	}
	db := server()
	key := record.Key(record.TableUser, 1)
	change := func() {
		t.Helper()
		if err := db.Update(t.Context(), func(w *record.Writer) error { return w.PutJSON(key, object{Name: "x"}) }); err != nil {
			t.Fatal(err)
		}
		if err := server().View(t.Context(), func(r *record.Reader) error { _, err := record.Load[object](r, key); return err }); err != nil {
			t.Errorf("another server: %v", err)
		}
	}
	change()
	s.before = putKeyset(first.Next([]byte("lost")))
	change()
	if err := record.ReplaceKeyset(t.Context(), k.Store, first, first.Next([]byte("second"))); err != nil {
		t.Fatal(err)
	}
	change()
}

// TestKeyServiceFails changes the keyset while the service that unwraps it for another
// server first fails, and then takes long to answer. That server says that it can't work
// now, and holds up nobody else who uses the store.
func TestKeyServiceFails(t *testing.T) {
	k := recordtest.New(t)
	if err := k.Store.Update(t.Context(), putKeyset(record.StoredKeyset{Number: 1, Wrapped: []byte("wrapped")})); err != nil {
		t.Fatal(err)
	}
	var answer func() error
	db := record.New(k.Store, k.Keys(), k.DB.Now)
	db.FollowKeyset(record.StoredKeyset{}, func(context.Context, []byte) (*seal.Keys, error) { return k.Keys(), answer() })
	view := func(ctx context.Context) error { return db.View(ctx, func(*record.Reader) error { return nil }) }
	update := func() error {
		return db.Update(t.Context(), func(w *record.Writer) error {
			return w.PutJSON(record.Key(record.TableUser, 1), object{Name: "x"})
		})
	}
	for _, test := range []struct {
		err         error
		unavailable bool
	}{{errors.New("no answer"), true}, {seal.ErrDamaged, false}} {
		answer = func() error { return test.err }
		for _, err := range []error{view(t.Context()), update()} {
			if !errors.Is(err, test.err) || errors.Is(err, store.ErrUnavailable) != test.unavailable {
				t.Errorf("the service fails: %v", err)
			}
		}
	}

	asked, answers := make(chan struct{}), make(chan struct{})
	answer = func() error { close(asked); <-answers; return nil }
	changed := make(chan error, 1)
	go func() { changed <- update() }()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := k.Store.Update(ctx, func(tx store.Tx) error { return tx.Set([]byte("other"), nil) }); err != nil {
		t.Errorf("a change of somebody else: %v", err)
	}
	waiting, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- view(waiting) }()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has left: %v", err)
	}
	close(answers)
	if err := <-changed; err != nil {
		t.Error(err)
	}
	if err := view(t.Context()); err != nil {
		t.Error(err)
	}
}
