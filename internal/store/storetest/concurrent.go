package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// testCounter increments one number from many goroutines: no increment may be
// lost.
func testCounter(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	const workers, rounds = 64, 20
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				if err := s.Update(t.Context(), func(tx store.Tx) error { return add(tx, "n", 1) }); err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantGet(t, s, "n", strconv.Itoa(workers*rounds))
	MustClose(t, s)
	s = MustOpen(t, o)
	wantGet(t, s, "n", strconv.Itoa(workers*rounds))
}

// share is deferred work: it adds to a total that the changes which are
// committed together write once.
type share struct {
	n    int
	fail error
}

func (s share) Commit(tx store.Tx, others []store.Deferred) error {
	for _, o := range others {
		s.n, s.fail = s.n+o.(share).n, errors.Join(s.fail, o.(share).fail)
	}
	if s.fail != nil {
		return s.fail
	}
	return add(tx, "total", s.n)
}

// testDeferred lets many callers write a number each and add it to a total, and
// some of them fail: the total is that of the numbers that are there.
func testDeferred(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	failed := errors.New("failed")
	var wg sync.WaitGroup
	for worker := range 32 {
		wg.Go(func() {
			for round := range 20 {
				n := 1000*worker + round
				err := s.Update(t.Context(), func(tx store.Tx) error {
					tx.Defer(share{n: n})
					if round%5 == 4 {
						return failed
					}
					return tx.Set(fmt.Appendf(nil, "n/%d", n), strconv.AppendInt(nil, int64(n), 10))
				})
				if want := round%5 == 4; errors.Is(err, failed) != want || err != nil && !want {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	check := func(when string) {
		t.Helper()
		total := 0
		MustView(t, s, func(r store.Reader) error {
			return r.Scan([]byte("n/"), store.PrefixEnd([]byte("n/")), func(_, v []byte) (bool, error) {
				n, err := strconv.Atoi(string(v))
				total += n
				return true, err
			})
		})
		if total == 0 {
			t.Fatal("nothing was written")
		}
		t.Log(when)
		wantGet(t, s, "total", strconv.Itoa(total))
	}
	check("after the updates")

	err := s.Update(t.Context(), func(tx store.Tx) error {
		tx.Defer(share{n: 1, fail: failed})
		return tx.Set([]byte("n/failed"), []byte("1"))
	})
	if !errors.Is(err, failed) {
		t.Errorf("an update whose deferred work fails: %v", err)
	}
	check("after one whose deferred work failed")
	MustUpdate(t, s, func(tx store.Tx) error {
		tx.Defer(share{n: 7})
		return tx.Set([]byte("n/last"), []byte("7"))
	})
	check("after another")
	MustClose(t, s)
	s = MustOpen(t, o)
	check("after opening again")
}

func add(tx store.Tx, key string, n int) error {
	v, _, err := get(tx, key)
	if err != nil {
		return err
	}
	old, _ := strconv.Atoi(v)
	return tx.Set([]byte(key), strconv.AppendInt(nil, int64(old+n), 10))
}

// testPairs moves amounts between accounts: every reader must see the same
// total, by Get and by Scan.
func testPairs(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	const accounts, total = 10, 1000
	MustUpdate(t, s, func(tx store.Tx) error {
		for i := range accounts {
			must(t, tx.Set(fmt.Appendf(nil, "acc/%d", i), strconv.AppendInt(nil, total/accounts, 10)))
		}
		return nil
	})
	sum := func(r store.Reader) error {
		byScan, byGet := 0, 0
		err := r.Scan([]byte("acc/"), store.PrefixEnd([]byte("acc/")), func(k, v []byte) (bool, error) {
			n, err := strconv.Atoi(string(v))
			byScan += n
			return true, err
		})
		if err != nil {
			return err
		}
		for i := range accounts {
			v, _, err := get(r, fmt.Sprintf("acc/%d", i))
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(v)
			if err != nil {
				return err
			}
			byGet += n
		}
		if byScan != total || byGet != total {
			return fmt.Errorf("sum is %d by scan and %d by get", byScan, byGet)
		}
		return nil
	}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	var reads atomic.Int64
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.View(t.Context(), sum); err != nil {
					t.Errorf("view: %v", err)
					return
				}
				reads.Add(1)
			}
		})
	}
	for w := range 16 {
		writers.Go(func() {
			for i := range 30 {
				err := s.Update(t.Context(), func(tx store.Tx) error {
					if err := sum(tx); err != nil {
						return err
					}
					if err := add(tx, fmt.Sprintf("acc/%d", (w+i)%accounts), -w); err != nil {
						return err
					}
					return add(tx, fmt.Sprintf("acc/%d", (w*3+i+1)%accounts), w)
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if reads.Load() == 0 {
		t.Error("no reader finished")
	}
}

// testViewIsASnapshot changes the store during a View.
func testViewIsASnapshot(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	for i := range 100 {
		MustSet(t, s, fmt.Sprintf("k%02d", i), "old")
	}
	MustView(t, s, func(r store.Reader) error {
		MustUpdate(t, s, func(tx store.Tx) error {
			must(t, tx.DeleteRange([]byte("k50"), nil))
			for i := range 50 {
				must(t, tx.Set(fmt.Appendf(nil, "k%02d", i), []byte("new")))
			}
			return tx.Set([]byte("z"), []byte("new"))
		})
		all, err := dump(r, nil, nil)
		if err != nil {
			return err
		}
		if len(all) != 100 {
			t.Errorf("%d keys", len(all))
		}
		for _, p := range all {
			if p.Value != "old" {
				t.Errorf("%v", p)
			}
		}
		if v, _, err := get(r, "k07"); err != nil || v != "old" {
			t.Errorf("get: %q, %v", v, err)
		}
		return nil
	})
	wantGet(t, s, "k07", "new")
	wantGet(t, s, "k70", "")
}

// testViewDoesNotWait reads while a change is in progress.
func testViewDoesNotWait(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	MustSet(t, s, "a", "1")
	MustUpdate(t, s, func(tx store.Tx) error {
		must(t, tx.Set([]byte("a"), []byte("2")))
		done := make(chan struct{})
		go func() {
			defer close(done)
			wantGet(t, s, "a", "1")
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("a view waited for a change")
		}
		return nil
	})
	wantGet(t, s, "a", "2")
}

// testReadYourWrites reads right after each change, with many others running.
func testReadYourWrites(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			key := fmt.Sprintf("w%02d", w)
			for i := range 30 {
				value := strconv.Itoa(i + 1)
				if err := s.Update(t.Context(), func(tx store.Tx) error {
					got, _, err := get(tx, key)
					if err != nil {
						return err
					}
					if i > 0 && got != strconv.Itoa(i) {
						t.Errorf("in update: %q, want %d", got, i)
					}
					return tx.Set([]byte(key), []byte(value))
				}); err != nil {
					t.Errorf("update: %v", err)
				}
				wantGet(t, s, key, value)
			}
		})
	}
	wg.Wait()
}
