// Package storetest holds the tests that every store.Store must pass, and a
// store that fails on demand. It is independent of implementations.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// An Opener opens the same data repeatedly. Only one of its stores is open at
// a time.
type Opener interface {
	// Open opens the store, which is empty the first time.
	Open(ctx context.Context) (store.Store, error)
}

// OpenerFunc is a function that implements Opener.
type OpenerFunc func(ctx context.Context) (store.Store, error)

// Open implements Opener.
func (f OpenerFunc) Open(ctx context.Context) (store.Store, error) { return f(ctx) }

// Run runs the tests, in parallel. make returns the opener of a new, empty
// store; it is called once per test, and frees its resources in the test's
// Cleanup.
func Run(t *testing.T, make func(tb testing.TB) Opener) {
	tests := []struct {
		name string
		run  func(t *testing.T, o Opener)
	}{
		{"Values", testValues},
		{"Ranges", testRanges},
		{"PrefixEnd", testPrefixEnd},
		{"OwnWrites", testOwnWrites},
		{"OwnWritesInScan", testOwnWritesInScan},
		{"CopiesBytes", testCopiesBytes},
		{"StopsScan", testStopsScan},
		{"Model", testModel},
		{"Reopen", testReopen},
		{"ReopenManyTimes", testReopenManyTimes},
		{"Failure", testFailure},
		{"FailuresAmongOthers", testFailuresAmongOthers},
		{"Panic", testPanic},
		{"Goexit", testGoexit},
		{"ViewPanic", testViewPanic},
		{"CancelBefore", testCancelBefore},
		{"CancelWaiting", testCancelWaiting},
		{"CancelDuring", testCancelDuring},
		{"Counter", testCounter},
		{"Deferred", testDeferred},
		{"Pairs", testPairs},
		{"ViewIsASnapshot", testViewIsASnapshot},
		{"ViewDoesNotWait", testViewDoesNotWait},
		{"Revision", testRevision},
		{"RevisionsTell", testRevisionsTell},
		{"ReadYourWrites", testReadYourWrites},
		{"LargeValues", testLargeValues},
		{"ManyKeys", testManyKeys},
		{"Closed", testClosed},
		{"CloseWaits", testCloseWaits},
		{"Linearizable", testLinearizable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, make(t))
		})
	}
}

// MustOpen opens the store and, unless the test does, closes it at the end of
// the test.
func MustOpen(tb testing.TB, o Opener) store.Store {
	tb.Helper()
	s, err := o.Open(tb.Context())
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}

// MustClose closes the store.
func MustClose(tb testing.TB, s store.Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatalf("close: %v", err)
	}
}

// MustUpdate makes a change.
func MustUpdate(tb testing.TB, s store.Store, fn func(store.Tx) error) {
	tb.Helper()
	if err := s.Update(tb.Context(), fn); err != nil {
		tb.Fatalf("update: %v", err)
	}
}

// MustSet sets key to value.
func MustSet(tb testing.TB, s store.Store, key, value string) {
	tb.Helper()
	MustUpdate(tb, s, func(tx store.Tx) error { return tx.Set([]byte(key), []byte(value)) })
}

// MustView reads.
func MustView(tb testing.TB, s store.Store, fn func(store.Reader) error) {
	tb.Helper()
	if err := s.View(tb.Context(), fn); err != nil {
		tb.Fatalf("view: %v", err)
	}
}

// MustDump returns all keys and values, in order.
func MustDump(tb testing.TB, s store.Store) []Pair {
	tb.Helper()
	var all []Pair
	MustView(tb, s, func(r store.Reader) (err error) {
		all, err = dump(r, nil, nil)
		return err
	})
	return all
}

// Pair is a key and its value.
type Pair struct{ Key, Value string }

func (p Pair) String() string { return fmt.Sprintf("%q=%q", p.Key, p.Value) }

func dump(r store.Reader, from, to []byte) ([]Pair, error) {
	var all []Pair
	err := r.Scan(from, to, func(key, value []byte) (bool, error) {
		all = append(all, Pair{string(key), string(value)})
		return true, nil
	})
	return all, err
}

// get returns the value of key and whether it exists.
func get(r store.Reader, key string) (string, bool, error) {
	v, err := r.Get([]byte(key))
	if errors.Is(err, store.ErrNotFound) {
		return "", false, nil
	}
	return string(v), err == nil, err
}

// wantGet checks that key has the value, or none if value is "".
func wantGet(tb testing.TB, s store.Store, key, value string) {
	tb.Helper()
	MustView(tb, s, func(r store.Reader) error {
		got, ok, err := get(r, key)
		if err != nil {
			return err
		}
		if got != value || ok != (value != "") {
			tb.Errorf("get %q: %q, %t; want %q", key, got, ok, value)
		}
		return nil
	})
}

// newRand returns a random source and logs its seed. STORETEST_SEED repeats a
// test with the same numbers.
func newRand(tb testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STORETEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			tb.Fatalf("STORETEST_SEED: %v", err)
		}
	}
	tb.Logf("STORETEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
