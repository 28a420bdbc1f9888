package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A Fault is a way for a call of Update to fail.
type Fault int

const (
	// NoFault does not interfere with the call.
	NoFault Fault = iota
	// NotApplied runs the function, discards its changes and reports
	// store.ErrUnavailable.
	NotApplied
	// Applied makes the change but reports store.ErrUnavailable, as when the
	// disk fails between the write and its confirmation.
	Applied
	// Late reports store.ErrUnavailable, and makes the change at the next call
	// of Update, as when the disk fails after the write and the change only
	// shows once the store has recovered.
	Late
	// Held reports store.ErrUnavailable, and makes the change after the next call
	// of Update, unless that writes something. So does a store on the network, when
	// a request is delivered late and is for a state that is still the newest.
	Held
)

// Faulty wraps s in a store whose calls of Update fail as choose decides,
// given the number of the call, starting at 1. Calls whose function fails are
// unaffected, and Views never fail. Calls of choose don't overlap. If choose
// is nil, only calls with a context from WithFault fail.
func Faulty(s store.Store, choose func(call int) Fault) store.Store {
	return &faulty{Store: s, choose: choose}
}

type faultKey struct{}

// WithFault returns a context with which each change of a Faulty store fails
// as f says.
func WithFault(ctx context.Context, f Fault) context.Context {
	return context.WithValue(ctx, faultKey{}, f)
}

// EveryNth returns a choose function that selects fault for every nth call.
func EveryNth(n int, fault Fault) func(int) Fault {
	return func(call int) Fault {
		if call%n == 0 {
			return fault
		}
		return NoFault
	}
}

// Randomly returns a choose function that selects a random fault for a share p
// of the calls. The same seed gives the same choices.
func Randomly(seed uint64, p float64) func(int) Fault {
	rng := randFrom(seed)
	return func(int) Fault {
		if rng.Float64() >= p {
			return NoFault
		}
		return NotApplied + Fault(rng.IntN(3))
	}
}

type faulty struct {
	store.Store
	mu     sync.Mutex
	calls  int
	choose func(int) Fault

	// alone is write-locked by an Update that must run alone.
	alone sync.RWMutex
	late  []func(store.Tx) error // writes of a late change; guarded by alone
	held  []func(store.Tx) error // writes of a held change; guarded by alone
}

func (f *faulty) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	f.calls++
	call := f.calls
	fault, chosen := ctx.Value(faultKey{}).(Fault)
	if !chosen && f.choose != nil {
		fault = f.choose(call)
	}
	f.mu.Unlock()

	broken := fmt.Errorf("%w: injected fault in call %d", store.ErrUnavailable, call)
	if fault == Late || fault == Held {
		return f.updateLater(ctx, fn, fault, broken)
	}
	if made, err := f.updateHeld(ctx, fn); made || err != nil {
		return err
	}
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	defer f.alone.RUnlock()
	switch fault {
	case NotApplied:
		err := f.Store.Update(ctx, func(tx store.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			return errTakeBack
		})
		if errors.Is(err, errTakeBack) {
			return broken
		}
		return err
	case Applied:
		if err := f.Store.Update(ctx, fn); err != nil {
			return err
		}
		return broken
	default:
		return f.Store.Update(ctx, fn)
	}
}

// catchUp makes the late changes, and returns with alone read-locked.
func (f *faulty) catchUp(ctx context.Context) error {
	for {
		f.alone.RLock()
		if len(f.late) == 0 {
			return nil
		}
		f.alone.RUnlock()
		f.alone.Lock()
		err := f.makeLate(ctx)
		f.alone.Unlock()
		if err != nil {
			return err
		}
	}
}

// makeLate makes the late changes. alone must be locked.
func (f *faulty) makeLate(ctx context.Context) error {
	if len(f.late) == 0 {
		return nil
	}
	err := f.Store.Update(ctx, func(tx store.Tx) error {
		for _, write := range f.late {
			if err := write(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		f.late = nil
	}
	return err
}

// updateHeld runs fn before the held change, if there is one.
func (f *faulty) updateHeld(ctx context.Context, fn func(store.Tx) error) (made bool, err error) {
	f.alone.Lock()
	defer f.alone.Unlock()
	if len(f.held) == 0 {
		return false, nil
	}
	wrote := false
	err = f.Store.Update(ctx, func(tx store.Tx) error {
		r := &recorder{Tx: tx, kept: true}
		err := fn(r)
		wrote = err == nil && len(r.writes) > 0
		return err
	})
	if !wrote {
		f.late = f.held
		err = errors.Join(err, f.makeLate(ctx))
	}
	f.held = nil
	return true, err
}

// updateLater runs alone, so that nothing changes between fn's reads and its
// later writes.
func (f *faulty) updateLater(ctx context.Context, fn func(store.Tx) error, fault Fault, broken error) error {
	f.alone.Lock()
	defer f.alone.Unlock()
	if err := f.makeLate(ctx); err != nil {
		return err
	}
	var writes []func(store.Tx) error
	err := f.Store.Update(ctx, func(tx store.Tx) error {
		r := &recorder{Tx: tx}
		if err := fn(r); err != nil {
			return err
		}
		writes = r.writes
		return errTakeBack
	})
	if !errors.Is(err, errTakeBack) {
		return err
	}
	if fault == Held {
		f.held = writes
	} else {
		f.late = writes
	}
	return broken
}

// recorder records writes.
type recorder struct {
	store.Tx
	kept   bool // the change isn't undone
	writes []func(store.Tx) error
}

func (r *recorder) do(write func(store.Tx) error) error {
	r.writes = append(r.writes, write)
	return write(r.Tx)
}

func (r *recorder) Set(key, value []byte) error {
	key, value = bytes.Clone(key), bytes.Clone(value)
	return r.do(func(tx store.Tx) error { return tx.Set(key, value) })
}

func (r *recorder) Delete(key []byte) error {
	key = bytes.Clone(key)
	return r.do(func(tx store.Tx) error { return tx.Delete(key) })
}

func (r *recorder) DeleteRange(from, to []byte) error {
	from, to = bytes.Clone(from), bytes.Clone(to)
	return r.do(func(tx store.Tx) error { return tx.DeleteRange(from, to) })
}

func (r *recorder) Defer(d store.Deferred) {
	// What is deferred in a change that is undone is never done.
	if r.kept {
		r.Tx.Defer(d)
	}
	r.writes = append(r.writes, func(tx store.Tx) error { tx.Defer(d); return nil })
}

var errTakeBack = errors.New("undo the change")

func randFrom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
