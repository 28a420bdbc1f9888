package record_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
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

// TestPreviousKeysAreDropped checks that the keys before a rotation are dropped some time
// after another server has ended it, by a timer that Close stops.
func TestPreviousKeysAreDropped(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, err := pebblestore.Open(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := record.CreateKeyset(t.Context(), s, []byte("wrapped")); err != nil {
				t.Fatal(err)
			}
			keys := recordtest.New(t).Keys()
			db := record.New(s, keys, time.Now)
			db.FollowKeyset(func(context.Context, []byte) (*seal.Keys, error) { return keys, nil })
			if err := db.View(t.Context(), func(*record.Reader) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if !db.Previous() {
				t.Error("the previous keys were dropped at once")
			}
			if closed {
				db.Close()
			}
			time.Sleep(time.Hour)
			if db.Previous() != closed {
				t.Errorf("closed %t: after an hour, the previous keys are there: %t", closed, db.Previous())
			}
		})
	}
}
