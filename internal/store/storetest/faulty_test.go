package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

func mustOpen(tb testing.TB) store.Store {
	tb.Helper()
	dir := tb.TempDir()
	return storetest.MustOpen(tb, storetest.OpenerFunc(func(context.Context) (store.Store, error) {
		return pebblestore.Open(dir, nil)
	}))
}

func TestFaulty(t *testing.T) {
	inner := mustOpen(t)
	s := storetest.Faulty(inner, func(call int) storetest.Fault {
		return []storetest.Fault{storetest.Applied, storetest.NoFault, storetest.NotApplied}[call%3]
	})
	mine := errors.New("mine")
	for call := 1; call <= 9; call++ {
		key := fmt.Sprintf("k%d", call)
		err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte(key), []byte("v")) })
		if fails := call%3 != 1; fails != errors.Is(err, store.ErrUnavailable) || !fails && err != nil {
			t.Errorf("call %d: %v", call, err)
		}
		storetest.MustView(t, s, func(r store.Reader) error {
			_, err := r.Get([]byte(key))
			if applied := call%3 != 2; applied != (err == nil) {
				t.Errorf("call %d: %v", call, err)
			}
			return nil
		})
	}
	for range 3 {
		if err := s.Update(t.Context(), func(store.Tx) error { return mine }); err != mine {
			t.Errorf("the function's error turned into %v", err)
		}
	}
}

// TestLate checks that a late change appears just before the next one.
func TestLate(t *testing.T) {
	s := storetest.Faulty(mustOpen(t), nil)
	storetest.MustSet(t, s, "a", "1")
	err := s.Update(storetest.WithFault(t.Context(), storetest.Late), func(tx store.Tx) error {
		if err := tx.DeleteRange([]byte("a"), []byte("b")); err != nil {
			return err
		}
		return errors.Join(tx.Set([]byte("b"), []byte("2")), tx.Delete([]byte("c")))
	})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a late change: %v", err)
	}
	if got := fmt.Sprint(storetest.MustDump(t, s)); got != `["a"="1"]` {
		t.Errorf("visible too early: %s", got)
	}
	storetest.MustUpdate(t, s, func(tx store.Tx) error {
		v, err := tx.Get([]byte("b"))
		if string(v) != "2" {
			t.Errorf("the next change sees %q, %v", v, err)
		}
		return tx.Set([]byte("d"), []byte("3"))
	})
	if got := fmt.Sprint(storetest.MustDump(t, s)); got != `["b"="2" "d"="3"]` {
		t.Errorf("afterwards: %s", got)
	}
}

func TestRandomly(t *testing.T) {
	count := func(seed uint64) (counts [4]int, all []storetest.Fault) {
		choose := storetest.Randomly(seed, 0.5)
		for call := range 1000 {
			fault := choose(call)
			counts[fault]++
			all = append(all, fault)
		}
		return counts, all
	}
	counts, first := count(1)
	if counts[storetest.NoFault] < 400 || counts[storetest.Applied] < 100 || counts[storetest.NotApplied] < 100 || counts[storetest.Late] < 100 {
		t.Errorf("got %v", counts)
	}
	_, second := count(1)
	if fmt.Sprint(first) != fmt.Sprint(second) {
		t.Error("the same seed made different choices")
	}
	choose := storetest.EveryNth(3, storetest.Applied)
	for call := 1; call < 10; call++ {
		if got := choose(call) == storetest.Applied; got != (call%3 == 0) {
			t.Errorf("call %d: %t", call, got)
		}
	}
}

// TestLinearizableWithFaults checks histories in which the outcome of some
// changes is unknown.
func TestLinearizableWithFaults(t *testing.T) {
	s := storetest.Faulty(mustOpen(t), storetest.Randomly(3, 0.05))
	storetest.CheckLinearizable(t, s, 8, 40)
}

// forgetful is a store that loses one change in ten.
type forgetful struct {
	store.Store
	calls int
}

func (f *forgetful) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.calls++; f.calls%10 != 0 {
		return f.Store.Update(ctx, fn)
	}
	drop := errors.New("drop")
	err := f.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return drop
	})
	if errors.Is(err, drop) {
		return nil
	}
	return err
}

// quiet is a testing.TB that only records whether it failed.
type quiet struct {
	testing.TB
	failed bool
}

func (q *quiet) Helper()               {}
func (q *quiet) Errorf(string, ...any) { q.failed = true }
func (q *quiet) Logf(string, ...any)   {}

// TestFindsLostChanges proves that CheckLinearizable can fail.
func TestFindsLostChanges(t *testing.T) {
	q := &quiet{TB: t}
	storetest.CheckLinearizable(q, &forgetful{Store: mustOpen(t)}, 1, 200)
	if !q.failed {
		t.Error("a store that loses changes passed")
	}
}
