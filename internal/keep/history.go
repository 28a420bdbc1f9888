package keep

import (
	"context"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// VersionInfo describes a version of an organization's secrets.
type VersionInfo struct {
	Number    uint64
	Created   time.Time
	Deleted   time.Time // when it is, or will be, hidden; zero: never
	Hidden    bool      // deleted or destroyed: it shows nothing now
	Destroyed bool
	Pinned    bool
	User      ID
	Token     ID
	Protocol  Protocol
	From      uint64 // the version that it rolled back to, 0: none
	Merged    uint64 // the version that a merged write had read, 0: none
	Count     int    // names in it
	// What it changed, in byte order. Filled by History only.
	Added   []string
	Changed []string
	Removed []string
}

func (w *writer) info(n uint64, r *versionRecord) VersionInfo {
	return describeVersion(n, r, w.state, w.Now)
}

func describeVersion(n uint64, r *versionRecord, s *stateRecord, now time.Time) VersionInfo {
	return VersionInfo{
		Number: n, Created: r.Time, Deleted: s.deletionTime(n), Hidden: s.hidden(n, now),
		Destroyed: s.destroyed(n), Pinned: s.pinned(n),
		User: r.User, Token: r.Token, Protocol: r.Protocol, From: r.From, Merged: r.Merged, Count: r.Count,
	}
}

// History returns the versions that are kept, newest first. Needs read on the
// organization's secrets. A caller limited to some names sees only these.
func (k *Keep) History(ctx context.Context, c Caller, org ID) ([]VersionInfo, error) {
	var out []VersionInfo
	err := k.read(ctx, c.record("secrets.history", org), func(v *view) error {
		out = nil
		if err := v.allowSecrets(&c, acl.Read, org); err != nil {
			return err
		}
		h, s, err := v.head(org)
		if err != nil {
			return err
		}
		for _, n := range slices.Backward(h.versions(s)) {
			r, err := v.version(h.Map, n)
			if err != nil {
				return err
			}
			changes, err := v.allChanges(h.Map, n, r)
			if err != nil {
				return err
			}
			info := describeVersion(n, r, s, v.Now)
			for _, ch := range changes {
				if !c.sees(ch.Name) {
					continue
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
		return nil
	})
	return out, err
}

// updateState runs fn on an organization's map and saves head and state. It
// is for what concerns whole versions, so not for callers who see only some
// names.
func (k *Keep) updateState(ctx context.Context, c Caller, action string, org ID, what string, fn func(*writer) error) error {
	rec := c.record(action, org)
	err := k.update(ctx, rec, func(t *tx) error {
		if err := t.allowSecrets(&c, acl.Write, org); err != nil {
			return err
		}
		if err := c.unlimited(what); err != nil {
			return err
		}
		w := &writer{tx: t, c: &c, org: org, rec: rec}
		if err := w.open(); err != nil {
			return err
		}
		rec.Version = w.head.Current
		if err := fn(w); err != nil {
			return err
		}
		return w.save()
	})
	if err == nil {
		k.watchers.notify(org)
	}
	return err
}

// DeleteVersions hides versions until they are undeleted; none means the
// current one. A version that is not kept is no error. Needs write on the
// organization's secrets.
func (k *Keep) DeleteVersions(ctx context.Context, c Caller, org ID, versions ...uint64) error {
	return k.updateState(ctx, c, "secrets.delete", org, "delete versions", func(w *writer) error {
		if w.head.Current == 0 {
			return errUnchanged
		}
		hide := versions
		if len(hide) == 0 {
			hide = []uint64{w.head.Current}
		}
		w.changeState()
		for _, n := range hide {
			if w.head.kept(w.state, n) && !w.state.hidden(n, w.Now) {
				w.state.Deleted[n] = w.Now
			}
		}
		return nil
	})
}

// UndeleteVersions shows deleted versions again, for as long as a new version
// would be there. Needs write on the organization's secrets.
func (k *Keep) UndeleteVersions(ctx context.Context, c Caller, org ID, versions ...uint64) error {
	return k.updateState(ctx, c, "secrets.undelete", org, "undelete versions", func(w *writer) error {
		if w.head.Current == 0 {
			return errUnchanged
		}
		w.changeState()
		for _, n := range versions {
			if !w.head.kept(w.state, n) || w.state.destroyed(n) {
				continue
			}
			delete(w.state.Deleted, n)
			if after := w.state.DeleteVersionAfter; after > 0 {
				w.state.Deleted[n] = w.Now.Add(after)
			}
		}
		return nil
	})
}

// DestroyVersions removes what only these versions show, for good. Needs
// write on the organization's secrets.
func (k *Keep) DestroyVersions(ctx context.Context, c Caller, org ID, versions ...uint64) error {
	return k.updateState(ctx, c, "secrets.destroy", org, "destroy versions", func(w *writer) error {
		if w.head.Current == 0 {
			return errUnchanged
		}
		w.changeState()
		for _, n := range versions {
			if w.head.kept(w.state, n) {
				w.state.Destroyed = insert(w.state.Destroyed, n)
			}
		}
		return w.sweepMap()
	})
}

// Dismiss unpins a version that the drop guard has pinned. Needs write on the
// organization's secrets.
func (k *Keep) Dismiss(ctx context.Context, c Caller, org ID, version uint64) error {
	return k.updateState(ctx, c, "secrets.dismiss", org, "dismiss a pinned version", func(w *writer) error {
		if !w.state.pinned(version) {
			return ErrVersionNotFound
		}
		w.letGo(version)
		return w.sweepUnpinned()
	})
}

// DeleteAll removes an organization's secrets with all their versions and
// settings. Needs write on the organization's secrets.
func (k *Keep) DeleteAll(ctx context.Context, c Caller, org ID) error {
	err := k.update(ctx, c.record("secrets.delete-all", org), func(t *tx) error {
		if err := t.allowSecrets(&c, acl.Write, org); err != nil {
			return err
		}
		if err := c.unlimited("delete all versions"); err != nil {
			return err
		}
		return t.deleteMap(org)
	})
	if err == nil {
		k.watchers.notify(org)
	}
	return err
}

// Rollback makes a new version with the content of an earlier one. Needs read
// and write on the organization's secrets.
func (k *Keep) Rollback(ctx context.Context, c Caller, org ID, version uint64) (Written, error) {
	var out Written
	rec := c.record("secrets.rollback", org)
	err := k.update(ctx, rec, func(t *tx) error {
		out = Written{}
		if err := t.allowSecrets(&c, acl.Write, org); err != nil {
			return err
		}
		if err := c.maySecrets(acl.Read, org); err != nil {
			return err
		}
		if err := c.unlimited("roll back"); err != nil {
			return err
		}
		w := &writer{tx: t, c: &c, org: org, rec: rec}
		if err := w.open(); err != nil {
			return err
		}
		if !w.head.kept(w.state, version) || w.state.destroyed(version) {
			return ErrVersionNotFound
		}
		ch := Change{Set: map[string]string{}, Replace: true}
		err := w.scanVersion(w.head.Map, version, func(e entry, value string) error {
			ch.Set[e.name] = value
			return nil
		})
		if err != nil {
			return err
		}
		changes, err := w.diff(ch)
		if err != nil {
			return err
		}
		out.Changed = true
		out.Version, err = w.commit(changes, ch.Set, versionRecord{From: version})
		return err
	})
	if err != nil {
		return Written{}, err
	}
	k.changed(org, out)
	return out, nil
}
