package secretmap

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// SecretChange is one change of a secret: it got a value, or was removed.
type SecretChange struct {
	Version uint64
	// Time and Author are zero if the change was made before they were stored with
	// each secret, and the version no longer exists.
	Time    time.Time
	Author  Author
	Removed bool
	// Hidden means that the value can't be read, because all versions that show it
	// are deleted or destroyed.
	Hidden bool
}

// ListedSecret is a secret with its last change.
type ListedSecret struct {
	Name string
	SecretChange
}

// ListQuery selects a part of the list of secrets.
type ListQuery struct {
	Match      func(name string) bool // nil: all
	ByChange   bool                   // in the order of their last changes, else of their names
	Descending bool
	Offset     int
	Limit      int // 0: no limit
}

// List returns the secrets in the current version with their last changes. total
// is the number of secrets that match the query.
func (m *Map) List(q ListQuery) (list []ListedSecret, total int, err error) {
	if m.Empty() {
		return nil, 0, nil
	}
	s, err := m.snapshot(m.head.Current)
	if err != nil {
		return nil, 0, err
	}
	memory := reservation{v: &m.view}
	var chosen []int // indexes of names; nil: all
	total = len(s.names)
	if q.Match != nil || q.ByChange {
		if err := memory.add(8 * total); err != nil {
			return nil, 0, err
		}
		chosen = make([]int, 0, total)
		for i, name := range s.names {
			if q.Match == nil || q.Match(name) {
				chosen = append(chosen, i)
			}
		}
		total = len(chosen)
	}
	if q.ByChange {
		slices.SortStableFunc(chosen, func(a, b int) int { return cmp.Compare(s.written[a], s.written[b]) })
	}
	for i := max(q.Offset, 0); i < total && (q.Limit == 0 || len(list) < q.Limit); i++ {
		at := i
		if q.Descending {
			at = total - 1 - i
		}
		if chosen != nil {
			at = chosen[at]
		}
		r, err := m.recordOf(s, at)
		if err != nil {
			return nil, 0, err
		}
		c, err := m.change(&r)
		if err == nil {
			err = memory.add(changeSize + len(r.name))
		}
		if err != nil {
			return nil, 0, err
		}
		list = append(list, ListedSecret{r.name, c})
	}
	return list, total, memory.flush()
}

// change describes the change that wrote a record.
func (m *Map) change(s *secretRecord) (SecretChange, error) {
	c := SecretChange{Version: s.version, Removed: !s.shown()}
	switch {
	case len(s.origin) > 0:
		c.Time, c.Author = s.origin.time(), s.origin.author()
	case m.Kept(s.version):
		r, err := m.versionInfo(m.head.Map, s.version)
		if err != nil {
			return c, err
		}
		c.Time, c.Author = r.Time, Author{User: r.User, Token: r.Token, Protocol: r.Protocol}
	}
	return c, nil
}

// SecretHistory returns the last changes of a name, newest first: max_versions at
// most. It ends where a removal has no version before it, and is empty if nothing
// is known of the name.
func (m *Map) SecretHistory(name string) ([]SecretChange, error) {
	if m.head.Current == 0 {
		return nil, nil
	}
	var out []SecretChange
	values := 0            // the length of out up to the last value
	last := m.head.Current // the last version that shows the next record
	memory := reservation{v: &m.view}
	h := m.r.DB().SecretHash(m.head.Map, name)
	err := m.scanName(m.head.Map, h, last, func(k, sealed []byte) (bool, error) {
		s, err := m.found(name, k, sealed)
		if err != nil || !s.shown() && s.version <= m.head.Oldest {
			return false, err
		}
		exists, visible := m.existing(s.version, last)
		ended := !exists && m.state.ends(last)
		last = s.version - 1
		if ended {
			return true, nil // sweep will remove it
		}
		c, err := m.change(&s)
		if err == nil {
			err = memory.add(changeSize)
		}
		if err != nil {
			return false, err
		}
		c.Hidden = s.shown() && exists && !visible
		if out = append(out, c); s.shown() {
			values = len(out)
		}
		return len(out) < m.state.maxVersions(), nil
	})
	if err == nil {
		err = memory.flush()
	}
	return out[:values], err
}

// existing reports whether one of the versions from first to last exists, and
// whether one of those is visible.
func (m *Map) existing(first, last uint64) (exists, visible bool) {
	at, _ := slices.BinarySearch(m.state.Pinned, first)
	for _, n := range m.state.Pinned[at:] {
		if n > last {
			break
		}
		exists, visible = true, visible || !m.state.hidden(n, m.r.Now)
	}
	for n := max(first, m.head.Oldest); n <= last && !visible; n++ {
		exists, visible = true, !m.state.hidden(n, m.r.Now)
	}
	return exists, visible
}

// ValueAt returns the value that a name has in a version or, if that version can't
// be read, the value that it got there. It returns ErrVersionNotFound if there is
// none.
func (m *Map) ValueAt(name string, version uint64) (Secret, error) {
	var s secretRecord
	var err error
	if m.Kept(version) && !m.state.hidden(version, m.r.Now) {
		s, err = m.secret(m.head.Map, name, version)
	} else {
		s, err = m.ownValue(name, version)
	}
	if err == nil && !s.shown() {
		err = ErrVersionNotFound
	}
	if err != nil {
		return Secret{}, err
	}
	memory := reservation{v: &m.view, pending: int64(secretSize + len(s.value))}
	return Secret{name, s.value, s.version}, memory.flush()
}

// ownValue finds a record in a name's own history.
func (m *Map) ownValue(name string, version uint64) (secretRecord, error) {
	history, err := m.SecretHistory(name)
	if err != nil || !slices.ContainsFunc(history, func(c SecretChange) bool { return c.Version == version && !c.Hidden }) {
		return secretRecord{}, err
	}
	s, err := m.secretAt(m.head.Map, name, m.r.DB().SecretHash(m.head.Map, name), version)
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return s, err
}
