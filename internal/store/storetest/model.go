package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// testModel runs random transactions on the store and on a map, compares the
// results, and sometimes reopens the store.
func testModel(t *testing.T, o Opener) {
	rng := newRand(t)
	rounds := 400
	if testing.Short() {
		rounds = 100
	}
	m := &model{rng: rng, state: map[string]string{}}
	s := MustOpen(t, o)
	for round := range rounds {
		switch rng.IntN(20) {
		case 0:
			MustClose(t, s)
			s = MustOpen(t, o)
		case 1, 2, 3:
			MustView(t, s, func(r store.Reader) error { return m.read(r, m.state) })
		default:
			m.update(t, s)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	if got, want := MustDump(t, s), inRange(m.state, nil, nil); !slices.Equal(got, want) {
		t.Errorf("at the end: %v\nwant %v", got, want)
	}
}

type model struct {
	rng   *rand.Rand
	state map[string]string
}

var errMine = errors.New("mine")

func (m *model) update(t *testing.T, s store.Store) {
	fails := m.rng.IntN(4) == 0
	var after map[string]string
	err := s.Update(t.Context(), func(tx store.Tx) error {
		after = maps.Clone(m.state)
		for range m.rng.IntN(20) {
			if err := m.step(tx, after); err != nil {
				return err
			}
		}
		if err := m.read(tx, after); err != nil {
			return err
		}
		if fails {
			return errMine
		}
		return nil
	})
	switch {
	case fails && err != errMine, !fails && err != nil:
		t.Errorf("update: %v", err)
	case !fails:
		m.state = after
	}
}

func (m *model) step(tx store.Tx, state map[string]string) error {
	switch m.rng.IntN(10) {
	case 0:
		from, to := m.bounds()
		for _, p := range inRange(state, from, to) {
			delete(state, p.Key)
		}
		return tx.DeleteRange(from, to)
	case 1, 2:
		k := m.key()
		delete(state, k)
		return tx.Delete([]byte(k))
	case 3:
		return m.read(tx, state)
	case 4:
		// Many keys, so that ranges are not deleted one by one.
		for i := range 100 {
			k := fmt.Sprintf("%s%02d", m.key()[:1], i)
			state[k] = "many"
			if err := tx.Set([]byte(k), []byte("many")); err != nil {
				return err
			}
		}
		return nil
	default:
		k, v := m.key(), fmt.Sprint(m.rng.Uint32())
		state[k] = v
		return tx.Set([]byte(k), []byte(v))
	}
}

// read compares the results of some reads with state.
func (m *model) read(r store.Reader, state map[string]string) error {
	for range 5 {
		k := m.key()
		got, ok, err := get(r, k)
		if err != nil {
			return err
		}
		if want, wantOK := state[k]; got != want || ok != wantOK {
			return fmt.Errorf("get %q: %q, %t; want %q, %t", k, got, ok, want, wantOK)
		}
	}
	from, to := m.bounds()
	got, err := dump(r, from, to)
	if err != nil {
		return err
	}
	if want := inRange(state, from, to); !slices.Equal(got, want) {
		return fmt.Errorf("scan %q-%q: %v\nwant %v", from, to, got, want)
	}
	return nil
}

func (m *model) key() string {
	const letters = "abcdefgh"
	b := make([]byte, 1+m.rng.IntN(3))
	for i := range b {
		b[i] = letters[m.rng.IntN(len(letters))]
	}
	return string(b)
}

func (m *model) bounds() (from, to []byte) {
	if m.rng.IntN(8) > 0 {
		from = []byte(m.key())
	}
	if m.rng.IntN(8) > 0 {
		to = []byte(m.key())
	}
	return from, to
}
