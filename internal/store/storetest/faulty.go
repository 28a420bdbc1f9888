package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A Fault says how one call of Update fails.
type Fault int

const (
	// NoFault lets the call through.
	NoFault Fault = iota
	// NotApplied runs the function, changes nothing and reports
	// store.ErrUnavailable.
	NotApplied
	// Applied makes the change and reports store.ErrUnavailable all the same,
	// as when the disk fails between the write and its confirmation.
	Applied
)

// Faulty returns a store on top of s whose calls of Update fail as choose
// says, which gets the number of the call, from 1. Calls whose function fails
// are not touched, and Views never fail. choose is not called by two
// goroutines at once.
func Faulty(s store.Store, choose func(call int) Fault) store.Store {
	return &faulty{Store: s, choose: choose}
}

// EveryNth chooses fault for every nth call.
func EveryNth(n int, fault Fault) func(int) Fault {
	return func(call int) Fault {
		if call%n == 0 {
			return fault
		}
		return NoFault
	}
}

// Randomly chooses, for a share p of the calls, one of both faults. The same
// seed gives the same choices.
func Randomly(seed uint64, p float64) func(int) Fault {
	rng := randFrom(seed)
	return func(int) Fault {
		if rng.Float64() >= p {
			return NoFault
		}
		if rng.IntN(2) == 0 {
			return NotApplied
		}
		return Applied
	}
}

type faulty struct {
	store.Store
	mu     sync.Mutex
	calls  int
	choose func(int) Fault
}

func (f *faulty) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	f.calls++
	call := f.calls
	fault := f.choose(call)
	f.mu.Unlock()

	broken := fmt.Errorf("%w: fault of the test in call %d", store.ErrUnavailable, call)
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

var errTakeBack = errors.New("take the change back")

func randFrom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
