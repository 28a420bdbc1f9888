package keep

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// Change is a write to an organization's secrets, and ChangeResult its result.
type (
	Change       = secretmap.Change
	ChangeResult = secretmap.Result
)

// allowSecrets checks access to an organization's secrets. With
// Caller.OrganizationFirst, the organization itself must be readable too, and is
// otherwise reported as missing. Without it, permissions are checked before whether
// the organization exists.
func (v *view) allowSecrets(c *Caller, a acl.Action, org ID) error {
	denied := c.maySecrets(a, org)
	if c.OrganizationFirst {
		if c.mayOrg(acl.Read, org) != nil {
			return ErrOrganizationNotFound
		}
	} else if denied != nil {
		return denied
	}
	if _, err := v.dir.Organization(org); err != nil {
		return err
	}
	return denied
}

// validate refuses invalid names and values and, before anything is compared with
// stored data, names outside the caller's token.
//
// When a whole document is replaced, an imported name that isn't valid for a new
// secret may stay, so that it doesn't prevent other writes; checkWritten refuses
// to change it. Only readers can know such a name.
func validate(ch Change, c *Caller, org ID) error {
	check := newName
	if ch.Replace && c.maySecrets(acl.Read, org) == nil {
		check = validName
	}
	for _, name := range ch.Remove {
		if !c.sees(name) {
			return errorf(CodeForbidden, "the token is not for secret %q", name)
		}
		if err := validName("secret name", name); err != nil {
			return err
		}
	}
	for name, value := range ch.Set {
		if !c.sees(name) {
			return errorf(CodeForbidden, "the token is not for secret %q", name)
		}
		if err := check("secret name", name); err != nil {
			return err
		}
		if err := validValue(value); err != nil {
			return err
		}
	}
	return nil
}

// checkWritten refuses invalid names that were added or changed.
func checkWritten(names []string) error {
	for _, name := range names {
		if err := newName("secret name", name); err != nil {
			return err
		}
	}
	return nil
}

// Change writes secrets. Needs write on the organization's secrets.
func (k *Keep) Change(ctx context.Context, c Caller, org ID, ch Change) (ChangeResult, error) {
	return k.change(ctx, c, org, ch, changeOptions{})
}

// ChangeSince is Change, but returns ErrSecretChanged if one of the names has been
// changed, added or removed after a version that the caller saw, or exists if that is
// 0. A caller without read permission saw none, so since doesn't count.
func (k *Keep) ChangeSince(ctx context.Context, c Caller, org ID, ch Change, since uint64) (ChangeResult, error) {
	return k.change(ctx, c, org, ch, changeOptions{since: &since})
}

// unchanged returns ErrSecretChanged if a name has been changed after a version.
func (t *tx) unchanged(org ID, names []string, since uint64) error {
	m, err := t.k.maps.Read(t.Reader, org)
	if err != nil || m.Empty() {
		return err
	}
	d, _, err := m.Document(m.Current(), nil, names)
	if err != nil {
		return err
	}
	if since > 0 && len(d.Secrets) < len(names) {
		return ErrSecretChanged
	}
	for _, s := range d.Secrets {
		if s.Version > since {
			return ErrSecretChanged
		}
	}
	return nil
}

// ChangeOrAdopt is Change, but creates an unknown organization if the caller may
// write the secrets of all organizations.
func (k *Keep) ChangeOrAdopt(ctx context.Context, c Caller, org ID, ch Change) (ChangeResult, error) {
	return k.change(ctx, c, org, ch, changeOptions{adopt: true})
}

type changeOptions struct {
	adopt bool    // see ChangeOrAdopt
	since *uint64 // see ChangeSince
}

func (k *Keep) change(ctx context.Context, c Caller, org ID, ch Change, o changeOptions) (ChangeResult, error) {
	var out ChangeResult
	adopted := false
	rec := c.record("secrets.write", org)
	rec.Names, rec.Removed = slices.Sorted(maps.Keys(ch.Set)), ch.Remove
	if len(ch.Set) == 0 {
		ctx = removing(ctx)
	}
	err := k.update(ctx, rec, func(t *tx) error {
		out, adopted = ChangeResult{}, false
		err := t.allowSecrets(&c, acl.Write, org)
		if errors.Is(err, ErrOrganizationNotFound) && o.adopt && c.may(acl.Write, acl.Resource{Type: acl.Secrets}) == nil && !c.Limited() {
			err = t.adopt(org)
			adopted = true
		}
		if err != nil {
			return err
		}
		if err := validate(ch, &c, org); err != nil {
			return err
		}
		if o.since != nil && c.ReadsSecrets(org) {
			if err := t.unchanged(org, slices.AppendSeq(slices.Clone(ch.Remove), maps.Keys(ch.Set)), *o.since); err != nil {
				return err
			}
		}
		out, err = t.apply(&c, org, ch, rec)
		return err
	})
	if out.Conflict {
		k.stats.MergeConflicts.Add(1)
	}
	if err != nil {
		return ChangeResult{}, err
	}
	if adopted {
		k.stats.Adopted.Add(1)
		k.logger.Info("organization adopted", "organization", org)
	}
	k.announceChange(org, out)
	return out, nil
}

// apply writes secrets for an authorized caller. The result is limited to the
// caller's view.
//
// A caller without read permission must not be able to guess values. So its
// change always creates a version, is never merged, and can't depend on a tag,
// which only readers get.
func (t *tx) apply(c *Caller, org ID, ch Change, rec *audit.Record) (ChangeResult, error) {
	unreadable := c.maySecrets(acl.Read, org)
	if unreadable != nil {
		if ch.Tag != "" {
			return ChangeResult{}, unreadable
		}
		ch.Merge, ch.Always = false, true
	}
	known, err := t.knownMap(c, org)
	if err != nil {
		return ChangeResult{}, err
	}
	if ch, err = known.condition(ch); err != nil {
		return ChangeResult{}, err
	}
	w := known.Write(t.w, c.author(), c.visible())
	out, err := w.Apply(ch)
	recordResult(rec, out, err)
	if err == nil {
		err = checkWritten(out.Names)
	}
	if err != nil && !errors.Is(err, errUnchanged) {
		return out, err
	}
	if !out.Changed {
		out.Version.Number = known.latest
	}
	switch after, kerr := c.know(w.Map); {
	case kerr != nil:
		return out, kerr
	case unreadable != nil:
		out.Tag = ""
	default:
		out.Tag = after.Tag()
	}
	return out, err
}

// writer returns a Writer for an organization's secrets. The caller must be
// authorized.
func (t *tx) writer(c *Caller, org ID) (*secretmap.Writer, error) {
	return t.k.maps.Write(t.w, org, c.author(), c.visible())
}

// author is how the caller is named in the versions that it makes.
func (c *Caller) author() secretmap.Author {
	return secretmap.Author{User: c.User, Token: c.actor(), Protocol: c.Origin.Protocol, ByID: c.ByID}
}

// recordResult sets the record's version and names to those that actually changed.
func recordResult(rec *audit.Record, w ChangeResult, err error) {
	if err == nil || errors.Is(err, errUnchanged) {
		rec.Version, rec.Names, rec.Removed = w.Version.Number, w.Names, w.Removed
	}
}

// announceChange wakes waiting callers, counts the change, and logs a pinned
// version.
func (k *Keep) announceChange(org ID, w ChangeResult) {
	if w.Changed {
		k.watchers.notify(org)
	}
	if w.Version.Merged != 0 {
		k.stats.Merges.Add(1)
	}
	if w.Pinned != 0 {
		k.stats.DropGuards.Add(1)
		k.logger.Warn("a write may have dropped secrets; the previous version is pinned",
			"organization", org, "version", w.Version.Number, "pinned", w.Pinned)
	}
}

func (t *tx) adopt(org ID) error {
	has, err := t.dir.OrganizationNamed(org.String())
	if err != nil {
		return err
	}
	if has != 0 {
		return errorf(CodeConflict, "organization %s can't be adopted: organization %s is named after its ID, rename that one first", org, has)
	}
	_, err = t.createOrg(org, org.String(), "")
	return err
}
