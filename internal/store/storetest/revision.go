package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

func testRevision(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	MustSet(t, s, "a1", "1")
	MustSet(t, s, "b1", "1")
	revisions := func() (all, a, b uint64) {
		MustView(t, s, func(r store.Reader) error {
			all, a, b = r.Revision(), r.Revision('a'), r.Revision('b')
			if got := s.Revision('a'); got != a && got != 0 {
				t.Errorf("revision %d of the store, and %d of a view", got, a)
			}
			return nil
		})
		return all, a, b
	}
	all, a, b := revisions()
	if all == 0 || a == 0 || b == 0 {
		t.Fatalf("revisions %d, %d, %d of a view", all, a, b)
	}

	// Calls that change nothing don't change a revision.
	failed := errors.New("mine")
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		must(t, tx.Set([]byte("a1"), []byte("2")))
		return failed
	}); err != failed {
		t.Errorf("update: %v", err)
	}
	MustUpdate(t, s, func(store.Tx) error { return nil })
	if all2, a2, b2 := revisions(); all2 != all || a2 != a || b2 != b {
		t.Errorf("revisions %d, %d, %d after calls that change nothing, %d, %d, %d before", all2, a2, b2, all, a, b)
	}

	MustView(t, s, func(r store.Reader) error {
		MustSet(t, s, "a1", "3")
		if got := r.Revision(); got != all {
			t.Errorf("the revision of a view changed from %d to %d", all, got)
		}
		return nil
	})
	if all2, a2, b2 := revisions(); all2 <= all || a2 <= a || b2 != b {
		t.Errorf("revisions %d, %d, %d after a change in a, %d, %d, %d before", all2, a2, b2, all, a, b)
	}

	MustUpdate(t, s, func(tx store.Tx) error {
		_, a, _ := revisions()
		if got := tx.Revision('a'); got != a {
			t.Errorf("revision %d in a change before it writes, want %d", got, a)
		}
		must(t, tx.Set([]byte("b1"), []byte("4")))
		if tx.Revision() != 0 || tx.Revision('b') != 0 || tx.Revision('a', 'b') != 0 {
			t.Error("a change has a revision for a table that it has written to")
		}
		if got := tx.Revision('a'); got != a {
			t.Errorf("revision %d of an unchanged table, want %d", got, a)
		}
		return nil
	})
}

// testRevisionsTell makes changes in several goroutines, and checks that equal
// revisions of the same tables come with equal data.
func testRevisionsTell(t *testing.T, o Opener) {
	const tables = "abcd"
	s := MustOpen(t, o)
	rng := newRand(t)
	type seen struct {
		tables   string
		revision uint64
	}
	var mu sync.Mutex
	states := map[seen]string{}
	look := func(r store.Reader, rng *rand.Rand) error {
		of := ""
		for _, table := range tables {
			if rng.IntN(3) > 0 {
				of += string(table)
			}
		}
		key := seen{of, r.Revision([]byte(of)...)}
		if key.revision == 0 {
			return nil
		}
		var state strings.Builder
		all, err := dump(r, nil, nil)
		if err != nil {
			return err
		}
		for _, p := range all {
			if of == "" || strings.Contains(of, p.Key[:1]) {
				fmt.Fprintln(&state, p)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if before, ok := states[key]; ok && before != state.String() {
			t.Errorf("revision %d of tables %q is both\n%s\nand\n%s", key.revision, of, before, state.String())
		}
		states[key] = state.String()
		return nil
	}
	change := func(tx store.Tx, rng *rand.Rand) error {
		key := func() []byte { return fmt.Appendf(nil, "%c%d", tables[rng.IntN(len(tables))], rng.IntN(3)) }
		switch rng.IntN(8) {
		case 0, 1:
			return tx.Delete(key())
		case 2:
			from := tables[rng.IntN(len(tables))]
			return tx.DeleteRange([]byte{from}, []byte{from + 1})
		case 3:
			from, to := key(), key()
			return tx.DeleteRange(from, to)
		default:
			return tx.Set(key(), fmt.Append(nil, rng.IntN(3)))
		}
	}
	failed := errors.New("mine")
	var wg sync.WaitGroup
	for range 4 {
		rng := randFrom(rng.Uint64())
		wg.Go(func() {
			for range 100 {
				err := s.View(t.Context(), func(r store.Reader) error { return look(r, rng) })
				if err != nil {
					t.Errorf("view: %v", err)
				}
				err = s.Update(t.Context(), func(tx store.Tx) error {
					for range rng.IntN(4) {
						if err := look(tx, rng); err != nil {
							return err
						}
						if err := change(tx, rng); err != nil {
							return err
						}
					}
					if rng.IntN(4) == 0 {
						return failed
					}
					return look(tx, rng)
				})
				if err != nil && err != failed {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	wg.Wait()
}
