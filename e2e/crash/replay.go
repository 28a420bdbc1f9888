package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// model is the expected state of an organization's secrets: each version
// follows from the previous one by exactly one request.
type model struct {
	last    uint64 // the newest checked version
	content map[uint64]map[string]string
	states  map[uint64][]stateChange // by version that was deleted
}

// stateChange is a request that deleted or undeleted a version.
type stateChange struct {
	hide      bool
	sent, end int64
	maybe     bool // it was answered 503 and is not recorded
}

func newModel() model {
	return model{content: map[uint64]map[string]string{0: nil}, states: map[uint64][]stateChange{}}
}

func (m *model) before(n uint64) (map[string]string, bool) {
	c, ok := m.content[n]
	return c, ok
}

// may reports whether a version can be hidden, or shown, now: whether one of
// the requests that did that can have been the last to take effect.
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

// wasHidden reports whether a version can have been hidden at some time.
func (m *model) wasHidden(n uint64) bool {
	return slices.ContainsFunc(m.states[n], func(s stateChange) bool { return s.hide })
}

// told is what the server returns about a version besides its content.
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

// follow checks that version n is the result of op on the previous version,
// according to the audit log, the history and the document. t and d are nil if
// the version is no longer stored or shown.
func (m *model) follow(n uint64, op *operation, r *record, t *told, d *document) error {
	base := m.content[n-1]
	bases := []bool{n == 1} // whether to start from nothing
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

// fits compares the effect of a change with what is reported about it.
func (e *effect) fits(r *record, t *told, d *document) error {
	if !slices.Equal(e.set, r.Names) || !slices.Equal(e.removed, r.Removed) {
		return fmt.Errorf("the audit log has %q set and %q removed instead of %q and %q", r.Names, r.Removed, e.set, e.removed)
	}
	if t != nil {
		set := slices.Sorted(slices.Values(slices.Concat(t.Added, t.Changed)))
		if !slices.Equal(e.set, set) || !slices.Equal(e.removed, t.Removed) {
			return fmt.Errorf("the history has %q set and %q removed instead of %q and %q", set, t.Removed, e.set, e.removed)
		}
		if t.Count != len(e.content) {
			return fmt.Errorf("the history has %d names instead of %d", t.Count, len(e.content))
		}
	}
	if d != nil && !d.hidden && !maps.Equal(d.secrets, e.content) {
		return fmt.Errorf("the document has%s\ninstead of%s", describe(d.secrets), describe(e.content))
	}
	return nil
}

// order checks that sequential requests took effect in their order, and that
// reads returned the current state. made holds the request that made each
// version, starting at first.
func order(first uint64, made []*operation, reads []*operation) error {
	began := make([]int64, len(made))   // the latest time at which a version up to this one was requested
	ended := make([]int64, len(made)+1) // the earliest time at which a version from this one on was answered
	latest := int64(math.MinInt64)
	for i, op := range made {
		if op.end() < latest {
			return fmt.Errorf("version %d, made by %s, was answered before an earlier version was requested", first+uint64(i), op)
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
			return fmt.Errorf("%s saw version %d, although version %d had been reported", op, v, op.newest)
		}
		if v >= first && began[min(v-first, uint64(len(made)-1))] > op.done {
			return fmt.Errorf("%s saw version %d before it was requested", op, v)
		}
		if v+1 >= first && v+1-first < uint64(len(ended)) && ended[v+1-first] < op.sent {
			return fmt.Errorf("%s saw version %d after the next one was acknowledged", op, v)
		}
	}
	return nil
}

// forget drops contents that no request can refer to any more.
func (m *model) forget(keep uint64, pinned map[uint64]bool) {
	for n := range m.content {
		if n > 0 && n+keep < m.last && !pinned[n] {
			delete(m.content, n)
			delete(m.states, n)
		}
	}
}
