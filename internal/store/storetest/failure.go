package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

func testFailure(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	for i := range 200 {
		MustSet(t, s, fmt.Sprintf("k%03d", i), "old")
	}
	before := MustDump(t, s)
	err := s.Update(t.Context(), func(tx store.Tx) error {
		must(t, tx.Set([]byte("k000"), []byte("new")))
		must(t, tx.Set([]byte("new"), []byte("new")))
		must(t, tx.Delete([]byte("k001")))
		must(t, tx.DeleteRange([]byte("k002"), []byte("k100")))
		must(t, tx.DeleteRange([]byte("k150"), nil))
		must(t, tx.Set([]byte("k160"), []byte("new")))
		return errMine
	})
	if err != errMine {
		t.Errorf("update: %v", err)
	}
	if got := MustDump(t, s); !slices.Equal(got, before) {
		t.Errorf("a failed function changed the store from\n%v\nto\n%v", before, got)
	}
	MustClose(t, s)
	s = MustOpen(t, o)
	if got := MustDump(t, s); !slices.Equal(got, before) {
		t.Errorf("after reopening: %v", got)
	}
}

// testFailuresAmongOthers makes functions fail in every way while others,
// which may share a commit with them, succeed.
func testFailuresAmongOthers(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	const workers, rounds = 32, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				fails := (w + i) % 3
				err := updateCatching(t.Context(), s, func(tx store.Tx) error {
					a, b := fmt.Appendf(nil, "a/%02d/%02d", w, i), fmt.Appendf(nil, "b/%02d/%02d", w, i)
					must(t, tx.Set(a, []byte("v")))
					if fails > 0 {
						// Destroy the others' data, which must be undone.
						must(t, tx.DeleteRange([]byte("a/"), []byte("b/99")))
						must(t, tx.Set([]byte("a/shared"), b))
					}
					switch fails {
					case 1:
						return errMine
					case 2:
						panic(errMine)
					}
					return tx.Set(b, []byte("v"))
				})
				if fails == 0 && err != nil || fails > 0 && err != errMine {
					t.Errorf("worker %d, round %d: %v", w, i, err)
				}
			}
		})
	}
	wg.Wait()
	want := map[string]string{}
	for w := range workers {
		for i := range rounds {
			if (w+i)%3 == 0 {
				want[fmt.Sprintf("a/%02d/%02d", w, i)] = "v"
				want[fmt.Sprintf("b/%02d/%02d", w, i)] = "v"
			}
		}
	}
	if got, w := MustDump(t, s), inRange(want, nil, nil); !slices.Equal(got, w) {
		t.Errorf("got %d keys, want %d", len(got), len(w))
	}
}

// updateCatching returns a panic of fn as an error.
func updateCatching(ctx context.Context, s store.Store, fn func(store.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err, _ = p.(error)
			if err == nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}
	}()
	return s.Update(ctx, fn)
}

func testPanic(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	err := updateCatching(t.Context(), s, func(tx store.Tx) error {
		must(t, tx.Set([]byte("a"), []byte("1")))
		panic(errMine)
	})
	if !errors.Is(err, errMine) {
		t.Errorf("update: %v", err)
	}
	wantGet(t, s, "a", "")
	MustSet(t, s, "a", "2")
	wantGet(t, s, "a", "2")
}

// testGoexit ends the goroutine inside a function, as t.Fatal does.
func testGoexit(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	for range 3 {
		returned := make(chan bool, 1)
		go func() {
			ok := false
			defer func() { returned <- ok }()
			_ = s.Update(t.Context(), func(tx store.Tx) error {
				must(t, tx.Set([]byte("a"), []byte("1")))
				runtime.Goexit()
				return nil
			})
			ok = true
		}()
		if <-returned {
			t.Error("update returned after its function ended the goroutine")
		}
	}
	wantGet(t, s, "a", "")
	MustSet(t, s, "a", "2")
	wantGet(t, s, "a", "2")
}

func testViewPanic(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	MustSet(t, s, "a", "1")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic of a view was lost")
			}
		}()
		_ = s.View(t.Context(), func(r store.Reader) error {
			return r.Scan(nil, nil, func(_, _ []byte) (bool, error) { panic(errMine) })
		})
	}()
	wantGet(t, s, "a", "1")
	MustClose(t, s) // must not wait for the view that panicked
}

func testCancelBefore(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := false
	err := s.Update(ctx, func(tx store.Tx) error {
		called = true
		return tx.Set([]byte("a"), []byte("1"))
	})
	if !errors.Is(err, context.Canceled) || called {
		t.Errorf("update: %v, called %t", err, called)
	}
	wantGet(t, s, "a", "")
}

// testCancelWaiting cancels a call that waits for another one.
func testCancelWaiting(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	running, finish := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := make(chan error, 1)
	go func() {
		first <- s.Update(t.Context(), func(tx store.Tx) error {
			once.Do(func() { close(running) })
			<-finish
			return tx.Set([]byte("first"), []byte("1"))
		})
	}()
	<-running
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	second := make(chan error, 1)
	go func() {
		second <- s.Update(ctx, func(tx store.Tx) error { return tx.Set([]byte("second"), []byte("1")) })
	}()
	err := <-second
	close(finish)
	if err := <-first; err != nil {
		t.Errorf("first: %v", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		// A store that runs functions side by side may have been faster.
		if err != nil {
			t.Errorf("second: %v", err)
		}
		wantGet(t, s, "second", "1")
		return
	}
	MustSet(t, s, "third", "1") // whatever waited has been dealt with
	wantGet(t, s, "first", "1")
	wantGet(t, s, "second", "")
}

// testCancelDuring cancels a call whose function has returned nil or is about
// to: it must still return nil.
func testCancelDuring(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		key := fmt.Sprintf("k%02d", i)
		err := s.Update(ctx, func(tx store.Tx) error {
			err := tx.Set([]byte(key), []byte("v"))
			if i%2 == 0 {
				cancel()
			} else {
				time.AfterFunc(time.Duration(i)*10*time.Microsecond, cancel)
			}
			return err
		})
		cancel()
		if err != nil {
			t.Errorf("update: %v", err)
		}
		wantGet(t, s, key, "v")
	}
}

func testClosed(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	MustSet(t, s, "a", "1")
	MustClose(t, s)
	called := func() error { t.Error("called on a closed store"); return nil }
	if err := s.View(t.Context(), func(store.Reader) error { return called() }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("view: %v", err)
	}
	if err := s.Update(t.Context(), func(store.Tx) error { return called() }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if err := s.Close(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("close: %v", err)
	}
}

// testCloseWaits closes the store while it is in use: each call must end as
// usual or with ErrClosed, and successful changes must be there afterwards.
func testCloseWaits(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	var mu sync.Mutex
	done := map[string]string{}
	var wg, busy sync.WaitGroup
	for w := range 16 {
		busy.Add(1)
		wg.Go(func() {
			for i := 0; ; i++ {
				if i == 5 {
					busy.Done()
				}
				key := fmt.Sprintf("%02d/%06d", w, i)
				err := s.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte(key), []byte("v")) })
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
				mu.Lock()
				done[key] = "v"
				mu.Unlock()
			}
		})
		wg.Go(func() {
			for {
				err := s.View(t.Context(), func(r store.Reader) error {
					_, err := dump(r, nil, nil)
					return err
				})
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("view: %v", err)
					return
				}
			}
		})
	}
	busy.Wait()
	MustClose(t, s)
	wg.Wait()
	s = MustOpen(t, o)
	if got, want := MustDump(t, s), inRange(done, nil, nil); !slices.Equal(got, want) {
		t.Errorf("%d keys after reopening, want %d", len(got), len(want))
	}
}
