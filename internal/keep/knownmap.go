package keep

import (
	"errors"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// knownMap is a caller's view of an organization's secrets. For a caller limited
// to some names, only versions that changed one of them exist, and the last of
// these is the current one.
type knownMap struct {
	secretmap.Map
	c      *Caller
	latest uint64
}

// know limits m to the caller's view.
func (c *Caller) know(m secretmap.Map) (*knownMap, error) {
	k := &knownMap{m, c, m.Current()}
	var err error
	if c.Limited() {
		k.latest, err = m.LastChange(c.sees)
	}
	return k, err
}

// knownMap reads an organization's secrets for the caller. It doesn't check
// whether the caller may read them.
func (v *view) knownMap(c *Caller, org ID) (*knownMap, error) {
	m, err := v.k.maps.Read(v.Reader, org)
	if err != nil {
		return nil, err
	}
	return c.know(m)
}

// Current returns the number of the caller's current version, 0 if there is none.
func (m *knownMap) Current() uint64 { return m.latest }

// Exists reports whether any version or settings exist for the caller.
func (m *knownMap) Exists() bool { return m.Map.Exists() && (m.latest > 0 || !m.c.Limited()) }

// Empty reports whether the caller sees no secrets.
func (m *knownMap) Empty() bool { return !m.Exists() || m.Map.Empty() }

// Tag changes whenever the caller's view changes.
func (m *knownMap) Tag() string {
	if !m.Exists() {
		return noTag
	}
	return m.TagAt(m.latest)
}

// noTag is the tag before anything was written.
const noTag = "0000000000000000.0.0"

// changed reports whether a stored version exists for the caller.
func (m *knownMap) changed(version uint64) (bool, error) {
	if !m.c.Limited() {
		return true, nil
	}
	return m.Map.Changed(version, m.c.sees)
}

// describe removes what a limited caller may not see: the number of names in a
// version, and its author unless that is the caller.
func (m *knownMap) describe(v *VersionInfo) {
	if !m.c.Limited() {
		return
	}
	v.Count, v.Pinned, v.From, v.Merged = countUnknown, false, 0, 0
	if v.Token != m.c.actor() {
		v.User, v.Token, v.Protocol = 0, 0, ""
	}
}

// countUnknown is the Count in a version for a limited caller.
const countUnknown = -1

// document returns the content of a version; 0 is the current one. If only is not
// nil, the document has only these names.
func (m *knownMap) document(version uint64, only []string) (Document, []string, error) {
	if version == 0 {
		if !m.Exists() || m.latest == 0 {
			return Document{}, nil, ErrVersionNotFound
		}
		return m.shown(m.Map.Current(), only)
	}
	if !m.Kept(version) {
		return Document{}, nil, ErrVersionNotFound
	}
	changed, err := m.changed(version)
	if err != nil {
		return Document{}, nil, err
	}
	if !changed {
		return Document{}, nil, ErrVersionNotFound
	}
	return m.shown(version, only)
}

func (m *knownMap) shown(version uint64, only []string) (Document, []string, error) {
	d, names, err := m.Document(version, m.c.visible(), only)
	if err != nil {
		return d, names, err
	}
	if m.latest != m.Map.Current() {
		d.Tag = m.Tag()
	}
	if version != m.latest && version == m.Map.Current() {
		// The caller's view hasn't changed since the latest version.
		v := VersionInfo{Created: m.Created()} // if that version was pruned
		if m.Kept(m.latest) {
			if v, err = m.Version(m.latest); err != nil {
				return d, nil, err
			}
		}
		v.Deleted, v.Hidden, v.Destroyed = d.Version.Deleted, d.Version.Hidden, d.Version.Destroyed
		v.Number, d.Version = m.latest, v
	}
	m.describe(&d.Version)
	return d, names, nil
}

// valuesAt returns the values that the names had in a version, in byte order of the
// names; it omits names without one.
func (m *knownMap) valuesAt(names []string, version uint64) (secrets []Secret, found []string, err error) {
	if m.Kept(version) {
		if changed, err := m.changed(version); err != nil || !changed {
			return nil, nil, err
		}
	}
	names = slices.Sorted(slices.Values(names))
	for _, name := range slices.Compact(names) {
		if !m.c.sees(name) {
			continue
		}
		s, err := m.ValueAt(name, version)
		if errors.Is(err, ErrVersionNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		secrets, found = append(secrets, s), append(found, name)
	}
	return secrets, found, nil
}

// stillCurrent returns the names of secrets that still have these values, which may
// come from an earlier version. Only who reads those is a reader: reading an old value
// must not replace, and so hide, the read of a newer one.
func (m *knownMap) stillCurrent(secrets []Secret) ([]string, error) {
	names := []string{}
	for _, s := range secrets {
		written, ok, err := m.Written(s.Name)
		if err != nil {
			return nil, err
		}
		if ok && written == s.Version {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// present returns those of the names that the caller sees and the current version has.
func (m *knownMap) present(names []string) ([]string, error) {
	out := []string{}
	for _, name := range names {
		if !m.c.sees(name) {
			continue
		}
		_, ok, err := m.Written(name)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, name)
		}
	}
	return out, nil
}

// history returns the stored versions that exist for the caller.
func (m *knownMap) history() ([]VersionInfo, error) {
	versions, err := m.History(m.c.visible())
	return m.only(versions, err)
}

func (m *knownMap) metadata() (Metadata, error) {
	if !m.Exists() {
		return Metadata{}, ErrVersionNotFound
	}
	out, err := m.Metadata()
	if err != nil || !m.c.Limited() {
		return out, err
	}
	out.Current, out.Oldest, out.Updated = m.latest, 0, out.Created
	if out.Versions, err = m.only(out.Versions, nil); len(out.Versions) > 0 {
		out.Updated = out.Versions[len(out.Versions)-1].Created
	}
	return out, err
}

// only returns the versions that exist for the caller.
func (m *knownMap) only(versions []VersionInfo, err error) ([]VersionInfo, error) {
	if err != nil || !m.c.Limited() {
		return versions, err
	}
	var out []VersionInfo
	for _, v := range versions {
		changed, err := m.changed(v.Number)
		if err != nil {
			return nil, err
		}
		if changed {
			m.describe(&v)
			out = append(out, v)
		}
	}
	return out, nil
}

// condition translates the conditions of a change from the caller's current
// version to the real one.
func (m *knownMap) condition(ch Change) (Change, error) {
	if !m.c.Limited() {
		return ch, nil
	}
	if ch.Exists && m.Empty() {
		return ch, ErrVersionNotFound
	}
	if ch.Tag != "" {
		if ch.Tag != m.Tag() {
			return ch, ErrCASMismatch
		}
		ch.Tag = m.Map.Tag()
	}
	if current := m.Map.Current(); ch.CAS != nil && m.latest <= *ch.CAS && *ch.CAS <= current {
		ch.CAS = &current // the caller has seen everything it may see
	}
	return ch, nil
}
