package keep

import (
	"context"
	"maps"
	"strings"
	"time"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// Metadata is what KV version 2 calls a secret's metadata.
type Metadata struct {
	Settings
	Current         uint64
	Oldest          uint64 // 0 until a version was pruned
	MetadataVersion uint64
	Created         time.Time
	Updated         time.Time
	Versions        []VersionInfo // oldest first, without names
}

// Settings of an organization's versions.
type Settings struct {
	MaxVersions        int // 0: DefaultMaxVersions
	CASRequired        bool
	DeleteVersionAfter time.Duration
	Custom             map[string]string
}

// Metadata returns the settings and the versions. Needs read on the
// organization's secrets. ErrVersionNotFound when nothing was ever written.
func (k *Keep) Metadata(ctx context.Context, c Caller, org ID) (Metadata, error) {
	var out Metadata
	err := k.read(ctx, c.record("secrets.metadata", org), func(v *view) error {
		if err := v.allowSecrets(&c, acl.Read, org); err != nil {
			return err
		}
		h, s, err := v.head(org)
		if err != nil {
			return err
		}
		if h.Map == 0 {
			return ErrVersionNotFound
		}
		out = Metadata{
			Settings: Settings{s.MaxVersions, s.CASRequired, s.DeleteVersionAfter, maps.Clone(s.Custom)},
			Current:  h.Current, MetadataVersion: s.MetadataVersion, Created: h.Created, Updated: h.Updated,
		}
		if h.Oldest > 1 {
			out.Oldest = h.Oldest
		}
		for _, n := range h.versions(s) {
			r, err := v.version(h.Map, n)
			if err != nil {
				return err
			}
			out.Versions = append(out.Versions, describeVersion(n, r, s, v.now))
		}
		return nil
	})
	return out, err
}

// SettingsUpdate changes what is not nil.
type SettingsUpdate struct {
	MaxVersions        *int
	CASRequired        *bool
	DeleteVersionAfter *time.Duration
	Custom             map[string]string // replaces all, when not nil
	// CustomPatch changes single entries; a nil value removes one.
	CustomPatch map[string]*string
	// Exists refuses the change when nothing was ever written.
	Exists bool
}

func (u *SettingsUpdate) empty() bool {
	return u.MaxVersions == nil && u.CASRequired == nil && u.DeleteVersionAfter == nil && u.Custom == nil && u.CustomPatch == nil
}

const maxMaxVersions = 10_000

func (u *SettingsUpdate) apply(s *stateRecord) error {
	if u.MaxVersions != nil {
		if *u.MaxVersions < 0 || *u.MaxVersions > maxMaxVersions {
			return errorf(CodeInvalid, "max_versions must be between 0 and %d", maxMaxVersions)
		}
		s.MaxVersions = *u.MaxVersions
	}
	if u.CASRequired != nil {
		s.CASRequired = *u.CASRequired
	}
	if u.DeleteVersionAfter != nil {
		s.DeleteVersionAfter = max(*u.DeleteVersionAfter, 0)
	}
	custom := maps.Clone(s.Custom)
	if u.Custom != nil {
		custom = maps.Clone(u.Custom)
	}
	for name, value := range u.CustomPatch {
		if value == nil {
			delete(custom, name)
			continue
		}
		if custom == nil {
			custom = make(map[string]string)
		}
		custom[name] = *value
	}
	// Vault's limits.
	if len(custom) > 64 {
		return errorf(CodeInvalid, "custom_metadata can have at most 64 entries")
	}
	for name, value := range custom {
		if name == "" || len(name) > 128 || value == "" || len(value) > 512 {
			return errorf(CodeInvalid, "custom_metadata takes names of 1 to 128 and values of 1 to 512 bytes")
		}
		if strings.ContainsFunc(name+value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return errorf(CodeInvalid, "custom_metadata takes printable characters only")
		}
	}
	s.Custom = custom
	return nil
}

// UpdateSettings changes how versions are kept. Needs write on the
// organization's secrets.
func (k *Keep) UpdateSettings(ctx context.Context, c Caller, org ID, u SettingsUpdate) error {
	return k.updateState(ctx, c, "secrets.settings", org, "change settings", func(w *writer) error {
		if u.Exists && w.head.Current == 0 && w.head.StateRevision == 0 {
			return ErrVersionNotFound
		}
		if u.empty() {
			return errUnchanged
		}
		w.changeState()
		w.state.MetadataVersion++
		return u.apply(w.state)
	})
}
