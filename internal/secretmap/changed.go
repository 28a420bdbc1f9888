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

// EachWritten calls fn with each name in the current version, in byte order, and the
// version that wrote its value.
func (m *Map) EachWritten(fn func(name string, version uint64) error) error {
	if m.Empty() {
		return nil
	}
	s, err := m.snapshot(m.head.Current)
	if err != nil {
		return err
	}
	for i, name := range s.names {
		if err := fn(name, s.written[i]); err != nil {
			return err
		}
	}
	return nil
}

// Written returns the version that wrote the current value of a name. ok is false if
// the current version doesn't have the name.
func (m *Map) Written(name string) (version uint64, ok bool, err error) {
	if m.Empty() {
		return 0, false, nil
	}
	s, err := m.secret(m.head.Map, name, m.head.Current)
	return s.version, s.shown(), err
}

// Additions returns the last stored version that added each name for which visible
// returns true. Names that were added earlier are left out.
func (m *Map) Additions(visible func(string) bool) (map[string]uint64, error) {
	added := map[string]uint64{}
	memory := reservation{v: &m.view}
	for _, n := range m.head.versions(m.state) {
		changes, err := m.changes(m.head.Map, n)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			if c.Op != opAdd || !visible(c.Name) {
				continue
			}
			if err := memory.add(2*nameSize + len(c.Name)); err != nil {
				return nil, err
			}
			added[c.Name] = n
		}
	}
	return added, memory.flush()
}
