package keep_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// The tests below run many concurrent callers on one Keep, record when each call began
// and ended and what it returned, and let porcupine look for an order of all calls in
// which a model returns the same. A call that failed as unavailable may have taken
// effect at any later time, or never.

// storeUnder is the store below a history. It fails while failing is true.
type storeUnder struct {
	name string
	wrap func(seed uint64, failing *atomic.Bool, s store.Store) store.Store
}

func storesUnder() []storeUnder {
	faulty := func(seed uint64, failing *atomic.Bool, s store.Store) store.Store {
		choose := storetest.Randomly(seed, 0.08)
		return storetest.Faulty(s, func(call int) storetest.Fault {
			if !failing.Load() {
				return storetest.NoFault
			}
			return choose(call)
		})
	}
	return []storeUnder{
		{"pebble", func(_ uint64, _ *atomic.Bool, s store.Store) store.Store { return s }},
		{"faulty", faulty},
		// Without the caches that need an exclusive store.
		{"faulty and shared", func(seed uint64, failing *atomic.Bool, s store.Store) store.Store {
			return sharedStore{faulty(seed, failing, s)}
		}},
		{"retrying", func(_ uint64, _ *atomic.Bool, s store.Store) store.Store { return sharedStore{&retrying{s}} }},
	}
}

// retrying runs each function twice and discards the first run, like a store that
// notices only at the end that another process has changed what the function read.
type retrying struct{ store.Store }

func (r *retrying) Update(ctx context.Context, fn func(store.Tx) error) error {
	conflict := errors.New("conflict")
	err := r.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return conflict
	})
	if !errors.Is(err, conflict) {
		return err
	}
	return r.Store.Update(ctx, fn)
}

// operation is a call of a history.
type operation interface {
	// group partitions calls: those of different groups are independent.
	group() int
	// run returns the answer.
	run(context.Context, *keeptest.Kit) (any, error)
}

// unknown is the result of a call that failed as unavailable.
type unknown struct{}

// law is a model: it explains the results of operations by a state, which step never
// modifies in place.
type law struct {
	start func() any
	// step returns the state after an operation, and its correct answer.
	step  func(state any, op operation) (next, result any)
	equal func(a, b any) bool
}

func (m law) porcupine() porcupine.Model {
	nm := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			groups := map[int][]porcupine.Operation{}
			for _, op := range history {
				g := op.Input.(operation).group()
				groups[g] = append(groups[g], op)
			}
			var parts [][]porcupine.Operation
			for _, p := range groups {
				parts = append(parts, p)
			}
			return parts
		},
		Init: func() []any { return []any{m.start()} },
		Step: func(state, input, output any) []any {
			next, result := m.step(state, input.(operation))
			switch {
			case output == unknown{} && m.equal(next, state):
				return []any{state}
			case output == unknown{}:
				return []any{state, next}
			case output != result:
				return nil
			}
			return []any{next}
		},
		Equal: m.equal,
	}
	return nm.ToModel()
}

// history runs operations of many concurrent callers.
type history struct {
	kit     *keeptest.Kit
	start   time.Time
	failing *atomic.Bool // whether the store fails
	mu      sync.Mutex
	all     []porcupine.Operation
	lost    int // calls whose outcome is unknown
}

func (h *history) do(t *testing.T, client int, op operation) {
	call := time.Since(h.start).Nanoseconds()
	result, err := op.run(t.Context(), h.kit)
	end := time.Since(h.start).Nanoseconds()
	if err != nil {
		if keep.CodeOf(err) != keep.CodeUnavailable || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%+v: %v", op, err)
			return
		}
		result, end = unknown{}, time.Hour.Nanoseconds()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.lost++
	}
	h.all = append(h.all, porcupine.Operation{ClientId: client, Input: op, Output: result, Call: call, Return: end})
}

// together runs work for the given number of concurrent callers, while the store fails
// from time to time.
func (h *history) together(rng *rand.Rand, callers int, work func(*rand.Rand, int)) {
	h.failing.Store(true)
	defer h.failing.Store(false)
	var wg sync.WaitGroup
	for c := range callers {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 1))
		wg.Go(func() { work(rng, c) })
	}
	wg.Wait()
}

func (h *history) check(t testing.TB, m law) {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(m.porcupine(), h.all, time.Minute) {
	case porcupine.Illegal:
		t.Errorf("no order of the %d operations explains their answers", len(h.all))
	case porcupine.Unknown:
		t.Logf("%d operations could not be checked within a minute", len(h.all))
	}
}

// histories runs several histories on each store. A failure names the seed; KEEP_SEED
// runs only the history with that seed.
func histories(t *testing.T, each func(*testing.T, *rand.Rand, *history)) {
	rounds := uint64(6)
	if testing.Short() {
		rounds = 2
	}
	for _, s := range storesUnder() {
		t.Run(s.name, func(t *testing.T) {
			base := uint64(time.Now().UnixNano())
			if text := os.Getenv("KEEP_SEED"); text != "" {
				var err error
				if base, err = strconv.ParseUint(text, 10, 64); err != nil {
					t.Fatal(err)
				}
				rounds = 1
			}
			operations, lost := 0, 0
			for seed := base; seed < base+rounds && !t.Failed(); seed++ {
				h := &history{start: time.Now(), failing: new(atomic.Bool)}
				h.kit = keeptest.New(t, &keeptest.Options{Wrap: func(inner store.Store) store.Store { return s.wrap(seed, h.failing, inner) }})
				each(t, rand.New(rand.NewPCG(seed, 11)), h)
				operations, lost = operations+len(h.all), lost+h.lost
				if t.Failed() {
					t.Logf("KEEP_SEED=%d", seed)
				}
			}
			t.Logf("%d operations, %d of them with unknown outcome", operations, lost)
			if strings.HasPrefix(s.name, "faulty") && lost == 0 {
				t.Error("no fault occurred")
			}
		})
	}
}

func sprint(v any) string { return fmt.Sprint(v) } // of maps, in the order of keys
