package secretmap

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// last returns the last version that showed a secret's change i, whether or not it
// still exists.
func (m *model) last(changes []*modelChange, i int) uint64 {
	if i+1 < len(changes) {
		return changes[i+1].version - 1
	}
	return m.current()
}

// existing lists the existing versions that show a secret's change i.
func (m *model) existing(changes []*modelChange, i int) (out []uint64) {
	for n := changes[i].version; n <= m.last(changes, i); n++ {
		if m.at(n) != nil {
			out = append(out, n)
		}
	}
	return out
}

// age updates which changes must be in the secrets' own histories.
func (m *model) age() {
	ended := func(n uint64) bool { v := m.versions[n-1]; return v.destroyed || !v.deleted.IsZero() }
	for _, changes := range m.secrets {
		over := false // an unseen removal lies in between
		for i, c := range slices.Backward(changes) {
			over = over || c.removed && c.version <= m.oldest
			c.gone = c.gone || over
			// If the next change is gone, this one seems to have lasted longer, and
			// may end with what was destroyed there.
			c.sure = c.sure && len(changes)-i <= m.max && (i+1 == len(changes) || changes[i+1].sure && !changes[i+1].gone)
			if c.removed {
				continue
			}
			for n := c.version; n <= m.last(changes, i); n++ {
				if (m.at(n) == nil || m.at(n).destroyed) && ended(n) {
					c.sure = false
				}
			}
			if n := m.last(changes, i); m.at(n) == nil && !c.past {
				c.past = true
				c.gone = c.gone || ended(n) && len(m.existing(changes, i)) == 0
			}
		}
	}
}

// destroySecrets removes what version n showed, unless another version shows it.
func (m *model) destroySecrets(n uint64) {
	if n == 0 || n > m.current() {
		return
	}
	for name, changes := range m.secrets {
		for i, c := range changes {
			needed := slices.ContainsFunc(m.existing(changes, i), func(n uint64) bool { return !m.versions[n-1].destroyed })
			if c.removed || needed || c.version > n {
				continue
			}
			// An older change may seem to have lasted longer if the next one is
			// gone.
			c.sure = false
			c.gone = c.gone || m.versions[n-1].values[name].written == c.version
		}
	}
}

// mayHave reports whether a secret's own history may have a change.
func (m *model) mayHave(name string, version uint64) bool {
	return slices.ContainsFunc(m.secrets[name], func(c *modelChange) bool { return c.version == version && !c.gone })
}

// compareSecrets compares the list of secrets and the history of each.
func (r *run) compareSecrets(m *Map, model *model, now map[string]modelValue) error {
	q := ListQuery{ByChange: r.IntN(2) == 0, Descending: r.IntN(2) == 0, Offset: r.IntN(3), Limit: r.IntN(4)}
	if r.IntN(2) == 0 {
		q.Match = func(name string) bool { return name < "n5" }
	}
	names := slices.SortedFunc(maps.Keys(now), func(a, b string) int {
		if before := int(now[a].written) - int(now[b].written); q.ByChange && before != 0 {
			return before
		}
		return strings.Compare(a, b)
	})
	names = slices.DeleteFunc(names, func(name string) bool { return q.Match != nil && !q.Match(name) })
	if q.Descending {
		slices.Reverse(names)
	}
	list, total, err := m.List(q)
	if err != nil || total != len(names) {
		return fmt.Errorf("the list %+v has %d secrets, %w; want %d", q, total, err, len(names))
	}
	names = names[min(q.Offset, len(names)):]
	if q.Limit > 0 {
		names = names[:min(q.Limit, len(names))]
	}
	for i, s := range list {
		if i >= len(names) || s.Name != names[i] || s.Version != now[s.Name].written || s.Removed {
			return fmt.Errorf("the list %+v is %+v, want %v", q, list, names)
		}
		if err := model.compareChange(s.SecretChange); err != nil {
			return err
		}
	}
	if len(list) != len(names) {
		return fmt.Errorf("the list %+v is %+v, want %v", q, list, names)
	}
	for i := range 8 {
		name := fmt.Sprint("n", i)
		if err := model.compareSecretHistory(m, name); err != nil {
			return fmt.Errorf("history of %s: %w", name, err)
		}
	}
	return nil
}

// compareChange compares a change with the version that made it.
func (m *model) compareChange(c SecretChange) error {
	if v := m.versions[c.Version-1]; !c.Time.Equal(v.created) || c.Author != v.author {
		return fmt.Errorf("the change is %+v, want %s by %+v", c, v.created, v.author)
	}
	return nil
}

func (m *model) compareSecretHistory(got *Map, name string) error {
	history, err := got.SecretHistory(name)
	if err != nil || len(history) > m.max {
		return fmt.Errorf("%+v, %w", history, err)
	}
	want := m.secrets[name]
	rest := history
	for i, c := range slices.Backward(want) {
		if len(rest) == 0 || rest[0].Version != c.version {
			if c.sure && !c.gone && (!c.removed || len(rest) > 0) {
				return fmt.Errorf("version %d is missing: %+v", c.version, history)
			}
			continue
		}
		is := rest[0]
		rest = rest[1:]
		if c.gone && !is.Hidden || is.Removed != c.removed {
			return fmt.Errorf("it has %+v, want %+v", is, c)
		}
		if err := m.compareChange(is); err != nil {
			return err
		}
		existing := m.existing(want, i)
		visible := slices.ContainsFunc(existing, func(n uint64) bool { return !m.at(n).hidden(got.r.Now) })
		if hidden := !c.removed && len(existing) > 0 && !visible; hidden && !is.Hidden || is.Hidden && !hidden && c.sure {
			return fmt.Errorf("%+v is hidden: %v", is, hidden)
		}
		if is.Hidden || is.Removed {
			continue
		}
		if s, err := got.ValueAt(name, is.Version); err != nil || s.Value != c.value || s.Version != c.version {
			return fmt.Errorf("version %d has the value %+v, %w; want %q", is.Version, s, err, c.value)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("it also has %+v", rest)
	}
	return m.compareValuesAt(got, name)
}

// compareValuesAt compares the values that a name has in each version. A value
// that is no longer there is never answered with another.
func (m *model) compareValuesAt(got *Map, name string) error {
	for n := uint64(0); n <= m.current()+1; n++ {
		s, err := got.ValueAt(name, n)
		if err != nil && !errors.Is(err, ErrVersionNotFound) {
			return err
		}
		v := m.at(n)
		if v != nil && !v.hidden(got.r.Now) {
			if want, has := v.values[name]; (err == nil) != has || has && (s.Value != want.value || s.Version != want.written) {
				return fmt.Errorf("in version %d, it is %+v, %w; want %+v", n, s, err, want)
			}
			continue
		}
		if err == nil && (m.versions[n-1].values[name] != modelValue{s.Value, s.Version} || !m.mayHave(name, s.Version)) {
			return fmt.Errorf("in version %d, it is %+v; want %+v", n, s, m.versions[n-1].values[name])
		}
	}
	return nil
}
