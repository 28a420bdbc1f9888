package secretmap

import (
	"slices"
	"strconv"
	"time"
)

// Map is an organization's map as seen by one transaction.
type Map struct {
	view
	org    ID
	stored *mapState // what the head record decodes to
	head   *headRecord
	state  *stateRecord
}

// Secret is a name with its value.
type Secret struct {
	Name    string
	Value   string
	Version uint64 // the version that wrote the value
}

// VersionInfo describes a version.
type VersionInfo struct {
	Number    uint64
	Created   time.Time
	Deleted   time.Time // when it was or will be hidden; zero: never
	Hidden    bool      // deleted or destroyed: it shows nothing
	Destroyed bool
	Pinned    bool
	User      ID
	Token     ID
	Protocol  Protocol
	From      uint64 // the version that it rolled back to, or 0
	Merged    uint64 // the version that a merged write had read, or 0
	Count     int    // number of names; -1: the caller may not know
	// The names that it changed, in byte order. Set by History only.
	Added   []string
	Changed []string
	Removed []string
}

// Document is what one version shows.
type Document struct {
	Version VersionInfo
	Custom  map[string]string // custom_metadata
	// Secrets are in byte order of their names; none when the version is
	// hidden.
	Secrets []Secret
	// Tag changes whenever the visible secrets change.
	Tag string
}

// Exists reports whether there are versions or settings.
func (m *Map) Exists() bool { return m.head.Map != 0 }

// Current returns the number of the current version, or 0.
func (m *Map) Current() uint64 { return m.head.Current }

// ID identifies the map. An organization whose secrets are deleted with all their
// versions gets another one.
func (m *Map) ID() ID { return m.head.Map }

// Created returns when the map was created.
func (m *Map) Created() time.Time { return m.head.Created }

// ByID reports whether the write that created the map addressed it by ID.
func (m *Map) ByID() bool { return m.head.ByID }

// Kept reports whether a version still exists.
func (m *Map) Kept(version uint64) bool { return m.head.kept(m.state, version) }

// Empty reports whether no secrets are visible: there is no version yet, or the
// current one is hidden.
func (m *Map) Empty() bool { return m.head.empty(m.state, m.r.Now) }

// Tag identifies the visible secrets: the map, its current version, and whether
// that one is hidden.
func (m *Map) Tag() string { return m.TagAt(m.head.Current) }

// TagAt is Tag as if another version, with the same visible secrets, were the
// current one.
func (m *Map) TagAt(version uint64) string {
	b := append(make([]byte, 0, 48), m.head.Map.String()...)
	b = strconv.AppendUint(append(b, '.'), version, 10)
	if m.Empty() {
		return string(append(b, ".0"...))
	}
	return string(append(b, ".1"...))
}

// Names returns the names in the current version, in byte order. The slice
// must not be changed.
func (m *Map) Names() ([]string, error) {
	if m.Empty() {
		return nil, nil
	}
	s, err := m.snapshot(m.head.Current)
	if err != nil {
		return nil, err
	}
	return s.names, nil
}

// Value returns the current value of a name.
func (m *Map) Value(name string) (value string, ok bool, err error) {
	if m.Empty() {
		return "", false, nil
	}
	s, err := m.secret(m.head.Map, name, m.head.Current)
	return s.value, s.shown(), err
}

// Document returns an existing version's secrets, limited to names for which
// visible returns true and, unless only is nil, to the names in only. A nil
// visible means all names. It also returns the names of the secrets; that slice
// must not be changed.
func (m *Map) Document(version uint64, visible func(string) bool, only []string) (Document, []string, error) {
	if m.state.hidden(version, m.r.Now) || only != nil {
		out, err := m.part(version, visible, only)
		if err != nil {
			return Document{}, nil, err
		}
		return out, namesOf(out.Secrets), nil
	}
	s, err := m.snapshot(version)
	if err != nil {
		return Document{}, nil, err
	}
	out := m.document(version, s.record)
	if visible == nil {
		out.Secrets, err = m.secrets(s)
		return out, s.names, err
	}
	memory := reservation{v: &m.view}
	for i, name := range s.names {
		if !visible(name) {
			continue
		}
		value, err := m.value(s, i)
		if err == nil {
			err = memory.add(secretSize + len(value))
		}
		if err != nil {
			return Document{}, nil, err
		}
		out.Secrets = append(out.Secrets, Secret{name, value, s.written[i]})
	}
	if err := memory.flush(); err != nil {
		return Document{}, nil, err
	}
	return out, namesOf(out.Secrets), nil
}

func namesOf(secrets []Secret) []string {
	names := make([]string, len(secrets))
	for i, s := range secrets {
		names[i] = s.Name
	}
	return names
}

func (m *Map) document(n uint64, r *versionRecord) Document {
	return Document{Version: m.info(n, r), Custom: m.state.Custom, Tag: m.Tag()}
}

// part reads some names of a version, or none if it is hidden.
func (m *Map) part(n uint64, visible func(string) bool, only []string) (Document, error) {
	r, err := m.versionInfo(m.head.Map, n)
	if err != nil {
		return Document{}, err
	}
	out := m.document(n, r)
	if out.Version.Hidden {
		return out, nil
	}
	return out, m.choose(n, visible, only, &out)
}

// choose reads single names, at a cost that doesn't depend on the size of the
// map.
func (m *Map) choose(n uint64, visible func(string) bool, only []string, out *Document) error {
	only = slices.Clone(only)
	slices.Sort(only)
	memory := reservation{v: &m.view}
	for _, name := range slices.Compact(only) {
		if visible != nil && !visible(name) {
			continue
		}
		s, err := m.secret(m.head.Map, name, n)
		if err == nil {
			err = memory.add(secretSize + len(s.value))
		}
		if err != nil {
			return err
		}
		if s.shown() {
			out.Secrets = append(out.Secrets, Secret{name, s.value, s.version})
		}
	}
	return memory.flush()
}

// Version describes an existing version.
func (m *Map) Version(n uint64) (VersionInfo, error) {
	r, err := m.versionInfo(m.head.Map, n)
	if err != nil {
		return VersionInfo{}, err
	}
	return m.info(n, r), nil
}

func (m *Map) info(n uint64, r *versionRecord) VersionInfo {
	s := m.state
	return VersionInfo{
		Number: n, Created: r.Time, Deleted: s.Deleted[n], Hidden: s.hidden(n, m.r.Now),
		Destroyed: s.destroyed(n), Pinned: s.pinned(n),
		User: r.User, Token: r.Token, Protocol: r.Protocol, From: r.From, Merged: r.Merged, Count: r.Count,
	}
}

// History returns the existing versions, newest first, with the names that they
// changed and for which visible returns true. A nil visible means all names.
func (m *Map) History(visible func(string) bool) ([]VersionInfo, error) {
	var out []VersionInfo
	memory := reservation{v: &m.view}
	for _, n := range slices.Backward(m.head.versions(m.state)) {
		r, err := m.version(m.head.Map, n)
		if err != nil {
			return nil, err
		}
		changes, err := m.allChanges(m.head.Map, n, r)
		if err != nil {
			return nil, err
		}
		info := m.info(n, r)
		if err := memory.add(versionSize); err != nil {
			return nil, err
		}
		for _, ch := range changes {
			if visible != nil && !visible(ch.Name) {
				continue
			}
			if err := memory.add(nameSize + len(ch.Name)); err != nil {
				return nil, err
			}
			switch ch.Op {
			case opAdd:
				info.Added = append(info.Added, ch.Name)
			case opChange:
				info.Changed = append(info.Changed, ch.Name)
			case opRemove:
				info.Removed = append(info.Removed, ch.Name)
			}
		}
		out = append(out, info)
	}
	return out, memory.flush()
}

// Metadata is what KV version 2 calls a secret's metadata.
type Metadata struct {
	Settings
	Current         uint64
	Oldest          uint64 // 0 until max_versions have been written
	MetadataVersion uint64
	Created         time.Time
	Updated         time.Time
	Versions        []VersionInfo // oldest first, without names
}

// Metadata returns the settings and the versions, or ErrVersionNotFound if nothing
// was ever written.
func (m *Map) Metadata() (Metadata, error) {
	h, s := m.head, m.state
	if !m.Exists() {
		return Metadata{}, ErrVersionNotFound
	}
	out := Metadata{
		Settings: m.Settings(),
		Current:  h.Current, MetadataVersion: s.MetadataVersion, Created: h.Created, Updated: h.Updated,
	}
	if h.Full || h.Oldest > 1 {
		out.Oldest = h.Oldest
	}
	for _, n := range h.versions(s) {
		r, err := m.versionInfo(h.Map, n)
		if err != nil {
			return Metadata{}, err
		}
		out.Versions = append(out.Versions, m.info(n, r))
	}
	return out, nil
}
