package secretmap

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/errcode"
)

// Settings of a map's versions.
type Settings struct {
	MaxVersions        int // 0: DefaultMaxVersions
	CASRequired        bool
	DeleteVersionAfter time.Duration
	Custom             map[string]string
	// MetadataCASRequired: settings are changed with check-and-set only.
	MetadataCASRequired bool
}

// Settings returns the settings of the map's versions.
func (m *Map) Settings() Settings {
	s := m.state
	return Settings{s.MaxVersions, s.CASRequired, s.DeleteVersionAfter, maps.Clone(s.Custom), s.MetadataCASRequired}
}

// SettingsUpdate changes the settings whose fields are not nil.
type SettingsUpdate struct {
	MaxVersions         *int
	CASRequired         *bool
	MetadataCASRequired *bool
	DeleteVersionAfter  *time.Duration
	Custom              map[string]string // replaces all entries if not nil
	// CustomPatch changes single entries; a nil value removes one.
	CustomPatch map[string]*string
	// MetadataCAS, if not nil, must be the current MetadataVersion.
	MetadataCAS *uint64
	// Exists refuses the change if nothing was ever written.
	Exists bool
}

func (u *SettingsUpdate) empty() bool {
	return u.MaxVersions == nil && u.CASRequired == nil && u.MetadataCASRequired == nil &&
		u.DeleteVersionAfter == nil && u.Custom == nil && u.CustomPatch == nil
}

const maxMaxVersions = 10_000

// validate checks what doesn't depend on the stored settings.
func (u *SettingsUpdate) validate() error {
	if u.MaxVersions != nil && (*u.MaxVersions < 0 || *u.MaxVersions > maxMaxVersions) {
		return errcode.Errorf(errcode.Invalid, "max_versions must be between 0 and %d", maxMaxVersions)
	}
	custom := u.Custom
	if u.CustomPatch != nil {
		custom = make(map[string]string, len(u.CustomPatch))
		for name, value := range u.CustomPatch {
			if value != nil {
				custom[name] = *value
			}
		}
	}
	return validCustom(custom)
}

// validCustom applies Vault's limits, with Vault's error messages.
func validCustom(custom map[string]string) error {
	const maxEntries, maxName, maxValue = 64, 128, 512
	if len(custom) > maxEntries {
		return customErrors([]string{fmt.Sprintf("payload must contain at most %d keys, provided %d", maxEntries, len(custom))})
	}
	printable := func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(custom)) {
		value := custom[name]
		if len(name) == 0 || len(name) > maxName {
			wrong = append(wrong, fmt.Sprintf("length of key %q is %d but must be 0 < len(key) <= %d", name, len(name), maxName))
		}
		if len(value) == 0 || len(value) > maxValue {
			wrong = append(wrong, fmt.Sprintf("length of value for key %q is %d but must be 0 < len(value) <= %d", name, len(value), maxValue))
		}
		if !printable(name) {
			wrong = append(wrong, fmt.Sprintf("key %q (%s) contains unprintable characters", name, name))
		}
		if !printable(value) {
			wrong = append(wrong, fmt.Sprintf("value for key %q contains unprintable characters", name))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return customErrors(wrong)
}

func customErrors(wrong []string) error {
	plural := "s"
	if len(wrong) == 1 {
		plural = ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d error%s occurred:\n", len(wrong), plural)
	for _, w := range wrong {
		fmt.Fprintf(&b, "\t* custom_metadata validation failed: %s\n", w)
	}
	b.WriteByte('\n')
	return &errcode.Error{Code: errcode.Invalid, Message: b.String()}
}

// checkCAS compares MetadataCAS with the current MetadataVersion.
func (u *SettingsUpdate) checkCAS(h *headRecord, s *stateRecord) error {
	switch {
	case u.MetadataCAS == nil && s.MetadataCASRequired:
		return ErrMetadataCASRequired
	case u.MetadataCAS == nil || *u.MetadataCAS == s.MetadataVersion:
		return nil
	case h.none():
		return ErrMetadataCASNew
	}
	return ErrMetadataCASMismatch
}

func (u *SettingsUpdate) apply(s *stateRecord) error {
	if u.MaxVersions != nil {
		s.MaxVersions = *u.MaxVersions
	}
	if u.CASRequired != nil {
		s.CASRequired = *u.CASRequired
	}
	if u.MetadataCASRequired != nil {
		s.MetadataCASRequired = *u.MetadataCASRequired
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
	s.Custom = custom
	return validCustom(custom) // a patch may have added too many
}

// UpdateSettings changes the settings of the map's versions.
func (w *Writer) UpdateSettings(u SettingsUpdate) error {
	if u.empty() {
		return ErrUnchanged
	}
	if err := u.validate(); err != nil {
		return err
	}
	if u.Exists && w.head.none() {
		return ErrVersionNotFound
	}
	if err := u.checkCAS(w.head, w.state); err != nil {
		return err
	}
	w.changeState()
	w.state.MetadataVersion++
	w.head.Updated = w.r.Now
	if err := u.apply(w.state); err != nil {
		return err
	}
	return w.save()
}
