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
			t.Errorf("the function's error became %v", err)
		}
	}
}

func TestRandomly(t *testing.T) {
	count := func(seed uint64) (counts [3]int, all []storetest.Fault) {
		choose := storetest.Randomly(seed, 0.5)
		for call := range 1000 {
			fault := choose(call)
			counts[fault]++
			all = append(all, fault)
		}
		return counts, all
	}
	counts, first := count(1)
	if counts[storetest.NoFault] < 400 || counts[storetest.Applied] < 150 || counts[storetest.NotApplied] < 150 {
		t.Errorf("got %v", counts)
	}
	_, second := count(1)
	if fmt.Sprint(first) != fmt.Sprint(second) {
		t.Error("the same seed chooses differently")
	}
	choose := storetest.EveryNth(3, storetest.Applied)
	for call := 1; call < 10; call++ {
		if got := choose(call) == storetest.Applied; got != (call%3 == 0) {
			t.Errorf("call %d: %t", call, got)
		}
	}
}

// TestLinearizableWithFaults runs histories in which some changes have an
// unknown outcome.
func TestLinearizableWithFaults(t *testing.T) {
	s := storetest.Faulty(mustOpen(t), storetest.Randomly(3, 0.05))
	storetest.CheckLinearizable(t, s, 8, 40)
}

// forgetful is a store that loses the value of one change in ten.
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

// quiet is a test that only notes whether it failed.
type quiet struct {
	testing.TB
	failed bool
}

func (q *quiet) Helper()               {}
func (q *quiet) Errorf(string, ...any) { q.failed = true }
func (q *quiet) Logf(string, ...any)   {}

// TestFindsLostChanges makes sure that the check can fail.
func TestFindsLostChanges(t *testing.T) {
	q := &quiet{TB: t}
	storetest.CheckLinearizable(q, &forgetful{Store: mustOpen(t)}, 1, 200)
	if !q.failed {
		t.Error("a store that loses changes passed")
	}
}
