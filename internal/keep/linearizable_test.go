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

// The tests below let many callers work on one Keep at the same time, note when
// each call began, when it ended and what it answered, and let porcupine look
// for an order of all calls that explains the answers by a model. What failed
// as unavailable may have happened at any later time, or never.

// storeUnder is a store that a history runs on. It fails while failing is true.
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
		// Without the caches that need a store of one's own.
		{"faulty and shared", func(seed uint64, failing *atomic.Bool, s store.Store) store.Store {
			return sharedStore{faulty(seed, failing, s)}
		}},
		{"retrying", func(_ uint64, _ *atomic.Bool, s store.Store) store.Store { return sharedStore{&retrying{s}} }},
	}
}

// retrying runs each function twice, as a store does that finds out late that
// somebody else has changed what it read: of the first run nothing is left.
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
	// group is what the call is about; calls about different groups have
	// nothing to do with each other.
	group() int
	// run returns what was answered.
	run(context.Context, *keeptest.Kit) (any, error)
}

// unknown is the result of a call that failed as unavailable.
type unknown struct{}

// law explains the results of operations by a state, which Step never
// changes in place.
type law struct {
	start func() any
	// step returns the state after an operation, and what it should answer.
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

// history runs operations of many callers at once.
type history struct {
	kit     *keeptest.Kit
	start   time.Time
	failing *atomic.Bool // whether the store fails
	mu      sync.Mutex
	all     []porcupine.Operation
	lost    int // calls whose outcome is not known
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

// together runs work for each of so many callers at the same time, on a store
// that fails meanwhile.
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
		t.Logf("%d operations were too many to be checked in a minute", len(h.all))
	}
}

// histories runs several histories on each store. A failure names the seed;
// KEEP_SEED runs the one with that seed alone.
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
				t.Error("no fault was met")
			}
		})
	}
}

func sprint(v any) string { return fmt.Sprint(v) } // of maps, in the order of keys
