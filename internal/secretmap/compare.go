package secretmap

// Comparison lists the names that differ between two versions, in byte order.
type Comparison struct {
	Added   []string
	Changed []string // a new value was written, which may be the same again
	Removed []string
}

// Compare compares what two stored versions show, without reading values. It
// considers only names for which visible returns true; a nil visible means all.
func (m *Map) Compare(from, to uint64, visible func(string) bool) (Comparison, error) {
	var out Comparison
	memory := reservation{v: &m.view}
	before, err := m.shownIn(from)
	if err != nil {
		return out, err
	}
	after, err := m.shownIn(to)
	if err != nil {
		return out, err
	}
	note := func(list *[]string, name string) error {
		if visible != nil && !visible(name) {
			return nil
		}
		*list = append(*list, name)
		return memory.add(nameSize + len(name))
	}
	for i, j := 0, 0; i < len(before.names) || j < len(after.names); {
		switch {
		case j == len(after.names) || i < len(before.names) && before.names[i] < after.names[j]:
			err = note(&out.Removed, before.names[i])
			i++
		case i == len(before.names) || before.names[i] > after.names[j]:
			err = note(&out.Added, after.names[j])
			j++
		default:
			if before.written[i] != after.written[j] {
				err = note(&out.Changed, after.names[j])
			}
			i++
			j++
		}
		if err != nil {
			return Comparison{}, err
		}
	}
	return out, memory.flush()
}

// shownIn returns what a version shows: nothing if it is hidden.
func (m *Map) shownIn(version uint64) (*snapshot, error) {
	if !m.Kept(version) || m.state.destroyed(version) {
		return nil, ErrVersionNotFound
	}
	if m.state.hidden(version, m.r.Now) {
		return &snapshot{}, nil
	}
	return m.snapshot(version)
}
