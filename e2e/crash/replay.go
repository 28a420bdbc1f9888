package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// model is what an organization's secrets must be: each version follows from
// the one before it by exactly one request.
type model struct {
	last    uint64 // the newest version that was checked
	content map[uint64]map[string]string
	states  map[uint64][]stateChange // of versions that were deleted
}

// stateChange is a request that has deleted or undeleted a version.
type stateChange struct {
	hide      bool
	sent, end int64
	maybe     bool // it was answered 503, and is not recorded
}

func newModel() model {
	return model{content: map[uint64]map[string]string{0: nil}, states: map[uint64][]stateChange{}}
}

func (m *model) before(n uint64) (map[string]string, bool) {
	c, ok := m.content[n]
	return c, ok
}

// may reports whether a version may be hidden, or shown, now: whether the last
// of the requests that hid or showed it can be one that did that.
func (m *model) may(n uint64, hidden bool) bool {
	states := m.states[n]
	if !hidden && !slices.ContainsFunc(states, func(s stateChange) bool { return s.hide && !s.maybe }) {
		return true
	}
	for _, last := range states {
		if last.hide != hidden {
			continue
		}
		after := slices.ContainsFunc(states, func(s stateChange) bool { return s.hide != hidden && s.sent > last.end && !s.maybe })
		if !after {
			return true
		}
	}
	return false
}

// wasHidden reports whether a version may have been hidden at some time.
func (m *model) wasHidden(n uint64) bool {
	return slices.ContainsFunc(m.states[n], func(s stateChange) bool { return s.hide })
}

// told is what the server tells of a version besides its content.
type told struct {
	Version  uint64
	TokenID  string
	Protocol string
	Added    []string
	Changed  []string
	Removed  []string
	Count    int
	Pinned   bool
}

// follow checks that version n is what op makes of the one before it, as the
// audit log, the history and the document tell. t and d are nil when the
// version is not kept or not shown any more.
func (m *model) follow(n uint64, op *operation, r *record, t *told, d *document) error {
	base := m.content[n-1]
	bases := []bool{n == 1} // whether it starts from nothing
	if n > 1 && m.wasHidden(n-1) {
		bases = append(bases, true)
	}
	var why error
	for _, empty := range bases {
		e, err := op.change.on(base, n, empty, m.before)
		if err == nil {
			err = e.fits(r, t, d)
		}
		if err == nil {
			m.content[n] = e.content
			m.last = n
			return nil
		}
		why = err
	}
	return fmt.Errorf("version %d is not what %s makes of version %d: %w\nbefore:%s\nrequest: set%s\nremove %q", n, op, n-1, why, describe(base), describe(op.change.set), op.change.remove)
}

// fits compares what a change must do with what is told of it.
func (e *effect) fits(r *record, t *told, d *document) error {
	if !slices.Equal(e.set, r.Names) || !slices.Equal(e.removed, r.Removed) {
		return fmt.Errorf("the audit log has names %q set and %q removed, and not %q and %q", r.Names, r.Removed, e.set, e.removed)
	}
	if t != nil {
		set := slices.Sorted(slices.Values(slices.Concat(t.Added, t.Changed)))
		if !slices.Equal(e.set, set) || !slices.Equal(e.removed, t.Removed) {
			return fmt.Errorf("the history has names %q set and %q removed, and not %q and %q", set, t.Removed, e.set, e.removed)
		}
		if t.Count != len(e.content) {
			return fmt.Errorf("the history has %d names, and not %d", t.Count, len(e.content))
		}
	}
	if d != nil && !d.hidden && !maps.Equal(d.secrets, e.content) {
		return fmt.Errorf("the document holds%s\nand not%s", describe(d.secrets), describe(e.content))
	}
	return nil
}

// order checks that requests that came one after the other have taken effect
// in that order, and that reads have seen what was there. made has the request
// that made each version from the first on.
func order(first uint64, made []*operation, reads []*operation) error {
	began := make([]int64, len(made))   // the latest time at which a version up to here was sent
	ended := make([]int64, len(made)+1) // the earliest time at which one from here on was answered
	latest := int64(math.MinInt64)
	for i, op := range made {
		if op.end() < latest {
			return fmt.Errorf("version %d, of %s, was answered before a version before it was asked for", first+uint64(i), op)
		}
		latest = max(latest, op.sent)
		began[i] = latest
	}
	ended[len(made)] = math.MaxInt64
	for i := len(made) - 1; i >= 0; i-- {
		ended[i] = min(ended[i+1], made[i].end())
	}
	for _, op := range reads {
		v := op.seen.version
		if v < op.newest {
			return fmt.Errorf("%s saw version %d, when version %d had been told of", op, v, op.newest)
		}
		if v >= first && began[min(v-first, uint64(len(made)-1))] > op.done {
			return fmt.Errorf("%s saw version %d before it was asked for", op, v)
		}
		if v+1 >= first && v+1-first < uint64(len(ended)) && ended[v+1-first] < op.sent {
			return fmt.Errorf("%s saw version %d after the next one was acknowledged", op, v)
		}
	}
	return nil
}

// forget lets go of contents that nobody can ask for any more.
func (m *model) forget(keep uint64, pinned map[uint64]bool) {
	for n := range m.content {
		if n > 0 && n+keep < m.last && !pinned[n] {
			delete(m.content, n)
			delete(m.states, n)
		}
	}
}
