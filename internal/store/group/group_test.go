package group

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// base is a state in memory.
type base map[string]string

func (b base) Get(key []byte) ([]byte, error) {
	v, ok := b[string(key)]
	if !ok {
		return nil, store.ErrNotFound
	}
	return []byte(v), nil
}

func (b base) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if k < string(from) || !before([]byte(k), to) {
			continue
		}
		if k == "broken" {
			return errBroken
		}
		if more, err := fn([]byte(k), []byte(b[k])); err != nil || !more {
			return err
		}
	}
	return nil
}

func (b base) Revision(...byte) uint64 { return 7 }

var (
	errBroken = errors.New("broken base")
	errFails  = errors.New("function fails")
)

func run(g *Group, b base, fn func(store.Tx) error) error {
	r := &Request{ctx: context.Background(), fn: fn}
	g.Run(r, b)
	return r.err
}

// apply returns the state that the group's writes make of b.
func apply(t *testing.T, g *Group, b base) base {
	t.Helper()
	out := maps.Clone(b)
	err := g.Ranges(func(from, to []byte) error {
		for k := range out {
			if k >= string(from) && before([]byte(k), to) {
				delete(out, k)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Keys(func(key, value []byte, deleted bool) error {
		if deleted {
			delete(out, string(key))
		} else {
			out[string(key)] = string(value)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestModel runs groups of random functions, some of which fail or are undone,
// and compares what they read and what the group writes with a map.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	key := func() []byte { return fmt.Appendf(nil, "%c%d", 'a'+rng.IntN(4), rng.IntN(4)) }
	bound := func() []byte {
		if rng.IntN(6) == 0 {
			return nil
		}
		return key()
	}
	var g Group
	state := base{}
	for round := range 3000 {
		g.Few = rng.IntN(4)
		want := maps.Clone(state)
		for range rng.IntN(6) {
			after := maps.Clone(want)
			fails := rng.IntN(4) == 0
			err := run(&g, state, func(tx store.Tx) error {
				for range rng.IntN(8) {
					switch k := key(); rng.IntN(5) {
					case 0:
						delete(after, string(k))
						if err := tx.Delete(k); err != nil {
							return err
						}
					case 1:
						from, to := bound(), bound()
						maps.DeleteFunc(after, func(k, _ string) bool { return k >= string(from) && before([]byte(k), to) })
						if err := tx.DeleteRange(from, to); err != nil {
							return err
						}
					default:
						v := fmt.Append(nil, rng.IntN(100))
						after[string(k)] = string(v)
						if err := tx.Set(k, v); err != nil {
							return err
						}
					}
				}
				from, to := bound(), bound()
				got := base{}
				var order []string
				if err := tx.Scan(from, to, func(k, v []byte) (bool, error) {
					got[string(k)] = string(v)
					order = append(order, string(k))
					return true, nil
				}); err != nil {
					return err
				}
				in := maps.Clone(after)
				maps.DeleteFunc(in, func(k, _ string) bool { return k < string(from) || !before([]byte(k), to) })
				if !maps.Equal(got, in) || !slices.IsSorted(order) || len(order) != len(in) {
					return fmt.Errorf("scan %q-%q: %v in order %q, want %v", from, to, got, order, in)
				}
				k := key()
				v, err := tx.Get(k)
				if w, ok := after[string(k)]; ok != (err == nil) || string(v) != w {
					return fmt.Errorf("get %q: %q, %v; want %q", k, v, err, w)
				}
				if fails {
					return errFails
				}
				return nil
			})
			switch {
			case fails && errors.Is(err, errFails):
			case err != nil:
				t.Fatalf("round %d: %v", round, err)
			case rng.IntN(8) == 0:
				g.Undo()
			default:
				want = after
			}
		}
		if got := apply(t, &g, state); !maps.Equal(got, want) {
			t.Fatalf("round %d: %v, want %v", round, got, want)
		}
		g.Take()
		state = want
	}
}

func TestScanReturnsTheErrorOfTheBase(t *testing.T) {
	var g Group
	b := base{"a": "1", "broken": "", "c": "1"}
	err := run(&g, b, func(tx store.Tx) error {
		if err := tx.Set([]byte("z"), []byte("own")); err != nil {
			return err
		}
		return tx.Scan(nil, nil, func(key, _ []byte) (bool, error) {
			if bytes.Equal(key, []byte("z")) {
				t.Error("visited a key behind the error")
			}
			return true, nil
		})
	})
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// TestRunAgain runs a request again after a conflict: its caller can't cancel it
// any more, and only the last run counts.
func TestRunAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var g Group
	r := &Request{ctx: ctx, fn: func(tx store.Tx) error {
		cancel()
		if _, err := tx.Get([]byte("a")); err != nil {
			return err
		}
		return tx.Set([]byte("b"), []byte("1"))
	}}
	g.Run(r, base{})
	if !errors.Is(r.err, store.ErrNotFound) || !g.Empty() {
		t.Errorf("first run: %v", r.err)
	}
	g.Take()
	b := base{"a": "1"}
	if g.Run(r, b); r.err != nil {
		t.Errorf("second run: %v", r.err)
	}
	if got := apply(t, &g, b); got["b"] != "1" {
		t.Errorf("the second run wrote %v", got)
	}
}
