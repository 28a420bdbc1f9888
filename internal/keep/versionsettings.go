package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// Metadata is the metadata of a secret in KV version 2, and Settings the part that
// SettingsUpdate changes.
type (
	Metadata       = secretmap.Metadata
	Settings       = secretmap.Settings
	SettingsUpdate = secretmap.SettingsUpdate
)

// DefaultMaxVersions is the number of versions stored by default.
const DefaultMaxVersions = secretmap.DefaultMaxVersions

// Metadata returns the settings and the versions, or ErrVersionNotFound if nothing
// was ever written. Needs read on the organization's secrets.
func (k *Keep) Metadata(ctx context.Context, c Caller, org ID) (Metadata, error) {
	var out Metadata
	err := k.read(ctx, c.record("secrets.metadata", org), func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err != nil {
			return err
		}
		out, err = m.metadata()
		return err
	})
	return out, err
}

// Settings returns how versions are stored. Needs read on the organization's secrets.
func (k *Keep) Settings(ctx context.Context, c Caller, org ID) (Settings, error) {
	var out Settings
	err := k.read(ctx, c.record("secrets.metadata", org), func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err == nil {
			out = m.Settings()
		}
		return err
	})
	if out.MaxVersions == 0 {
		out.MaxVersions = DefaultMaxVersions
	}
	return out, err
}

// UpdateSettings changes how versions are stored. Needs write on the organization's
// secrets.
func (k *Keep) UpdateSettings(ctx context.Context, c Caller, org ID, u SettingsUpdate) error {
	return k.updateVersions(ctx, c, "secrets.settings", org, "change settings", func(w *secretmap.Writer) error {
		return w.UpdateSettings(u)
	})
}
