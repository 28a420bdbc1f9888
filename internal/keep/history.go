package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// VersionInfo describes a version of an organization's secrets.
type VersionInfo = secretmap.VersionInfo

// History returns the stored versions, newest first. Needs read on the
// organization's secrets. A caller limited to some names sees only versions that
// changed one of these, without counts, and without their authors.
func (k *Keep) History(ctx context.Context, c Caller, org ID) (out []VersionInfo, err error) {
	err = k.ViewSecrets(ctx, c, "secrets.history", org, nil, func(s *SecretsView) (err error) {
		out, err = s.Versions()
		return err
	})
	return out, err
}

// Comparison lists the names that differ between two versions.
type Comparison = secretmap.Comparison

// updateVersions runs fn on an organization's map. It acts on whole versions, so
// it refuses callers who see only some names.
func (k *Keep) updateVersions(ctx context.Context, c Caller, action string, org ID, what string, fn func(*secretmap.Writer) error) error {
	rec := c.record(action, org)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := t.allowSecrets(&c, acl.Write, org); err != nil {
			return err
		}
		if err := c.unlimited(what); err != nil {
			return err
		}
		w, err := t.writer(&c, org)
		if err != nil {
			return err
		}
		rec.Version = w.Current()
		return fn(w)
	})
	if err == nil {
		k.watchers.notify(org)
	}
	return err
}

// DeleteVersions hides versions until they are undeleted; none means the current
// one. Versions that don't exist are ignored. Needs write on the organization's
// secrets.
func (k *Keep) DeleteVersions(ctx context.Context, c Caller, org ID, versions ...uint64) error {
	return k.updateVersions(removing(ctx), c, "secrets.delete", org, "delete versions", func(w *secretmap.Writer) error {
		return w.DeleteVersions(versions...)
	})
}

// UndeleteVersions restores deleted versions, for as long as a new version would
// be stored. Needs write on the organization's secrets.
func (k *Keep) UndeleteVersions(ctx context.Context, c Caller, org ID, versions ...uint64) error {
	return k.updateVersions(ctx, c, "secrets.undelete", org, "undelete versions", func(w *secretmap.Writer) error {
		return w.UndeleteVersions(versions...)
	})
}

// DestroyVersions permanently removes the values that only these versions have.
// Needs write on the organization's secrets.
func (k *Keep) DestroyVersions(ctx context.Context, c Caller, org ID, versions ...uint64) error {
	return k.updateVersions(removing(ctx), c, "secrets.destroy", org, "destroy versions", func(w *secretmap.Writer) error {
		return w.DestroyVersions(versions...)
	})
}

// Unpin unpins a version that the drop guard pinned. Needs write on the
// organization's secrets.
func (k *Keep) Unpin(ctx context.Context, c Caller, org ID, version uint64) error {
	return k.updateVersions(ctx, c, "secrets.dismiss", org, "unpin a version", func(w *secretmap.Writer) error {
		return w.Unpin(version)
	})
}

// DeleteAll removes an organization's secrets with all their versions and
// settings. Needs write on the organization's secrets.
func (k *Keep) DeleteAll(ctx context.Context, c Caller, org ID) error {
	err := k.update(removing(ctx), c.record("secrets.delete-all", org), func(t *tx) error {
		if err := t.allowSecrets(&c, acl.Write, org); err != nil {
			return err
		}
		if err := c.unlimited("delete all versions"); err != nil {
			return err
		}
		return t.k.maps.Delete(t.w, org)
	})
	if err == nil {
		k.watchers.notify(org)
	}
	return err
}

// Rollback creates a new version with the content of an earlier one. Needs read
// and write on the organization's secrets.
func (k *Keep) Rollback(ctx context.Context, c Caller, org ID, version uint64) (ChangeResult, error) {
	return k.rollback(ctx, c, org, version, nil)
}

// RollbackFrom is Rollback, but returns ErrCASMismatch unless the current version is
// the one that the caller saw.
func (k *Keep) RollbackFrom(ctx context.Context, c Caller, org ID, version, current uint64) (ChangeResult, error) {
	return k.rollback(ctx, c, org, version, &current)
}

func (k *Keep) rollback(ctx context.Context, c Caller, org ID, version uint64, current *uint64) (ChangeResult, error) {
	rec := c.record("secrets.rollback", org)
	return k.restore(ctx, c, org, rec, func(t *tx) (ChangeResult, error) {
		if err := c.unlimited("roll back"); err != nil {
			return ChangeResult{}, err
		}
		w, err := t.writer(&c, org)
		if err != nil {
			return ChangeResult{}, err
		}
		if current != nil && *current != w.Current() {
			return ChangeResult{}, ErrCASMismatch
		}
		out, err := w.Rollback(version)
		recordResult(rec, out, err)
		return out, err
	})
}

// restore runs fn, which writes earlier values of an organization's secrets. Needs
// read and write on these.
func (k *Keep) restore(ctx context.Context, c Caller, org ID, rec *audit.Record, fn func(*tx) (ChangeResult, error)) (ChangeResult, error) {
	var out ChangeResult
	err := k.update(ctx, rec, func(t *tx) (err error) {
		if err := t.allowSecrets(&c, acl.Write, org); err != nil {
			return err
		}
		if err := c.maySecrets(acl.Read, org); err != nil {
			return err
		}
		out, err = fn(t)
		return err
	})
	if err != nil {
		return ChangeResult{}, err
	}
	k.announceChange(org, out)
	return out, nil
}
