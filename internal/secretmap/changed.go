package secretmap

import "slices"

// Changed reports whether an existing version changed a name for which visible
// returns true.
func (m *Map) Changed(version uint64, visible func(string) bool) (bool, error) {
	changes, err := m.changes(m.head.Map, version)
	return slices.ContainsFunc(changes, func(c change) bool { return visible(c.Name) }), err
}

// LastChange returns the last version that changed a name for which visible
// returns true, or 0. If that version no longer exists, it is the last one
// that wrote such a name.
func (m *Map) LastChange(visible func(string) bool) (uint64, error) {
	for n := m.head.Current; n >= max(m.head.Oldest, 1); n-- {
		if changed, err := m.Changed(n, visible); err != nil || changed {
			return n, err
		}
	}
	if m.Empty() {
		return 0, nil
	}
	s, err := m.snapshot(m.head.Current)
	if err != nil {
		return 0, err
	}
	var last uint64
	for i, name := range s.names {
		if visible(name) {
			last = max(last, s.written[i])
		}
	}
	return last, nil
}
