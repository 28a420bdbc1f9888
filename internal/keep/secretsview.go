package keep

import (
	"cmp"
	"context"

	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// SecretsView is an organization's secrets without their values, as a caller sees them
// at one time. It is valid only inside ViewSecrets.
type SecretsView struct {
	v   *view
	c   *Caller
	org ID
	m   *knownMap
}

// ViewSecrets calls fn with an organization's secrets. All that fn reads is consistent
// and has one audit record, which names the secrets it is about, if any. fn may run more
// than once. Needs read on the organization's secrets.
func (k *Keep) ViewSecrets(ctx context.Context, c Caller, action string, org ID, names []string, fn func(*SecretsView) error) error {
	rec := c.record(action, org)
	rec.Names = names
	return k.read(ctx, rec, func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err != nil {
			return err
		}
		rec.Version = m.Map.Current()
		return fn(&SecretsView{v, &c, org, m})
	})
}

// Reference returns a function that returns the reference of a secret's name, as
// Keep.References does.
func (s *SecretsView) Reference() (of func(name string) string) { return s.m.References() }

// Name returns the name that a reference belongs to, as Keep.SecretName does.
func (s *SecretsView) Name(reference string) (string, error) { return s.m.named(reference) }

// Changes returns the last change of each secret that exists, and the number of secrets
// that match the filter.
func (s *SecretsView) Changes(f SecretFilter) (list []SecretChange, total int, err error) {
	q := secretmap.ListQuery{ByChange: f.ByChange, Descending: f.Page.Descending, Offset: f.Page.Offset, Limit: f.Page.Limit}
	if f.Pattern != "" || f.Contains != "" || s.c.Limited() {
		q.Match = func(name string) bool { return s.c.sees(name) && f.matches(name) }
	}
	found, total, err := s.m.List(q)
	if err != nil {
		return nil, 0, err
	}
	authors := authors{view: s.v, c: s.c, org: s.org}
	list = make([]SecretChange, len(found))
	for i, l := range found {
		if list[i], err = authors.describe(l.Name, l.SecretChange); err != nil {
			return nil, 0, err
		}
	}
	return list, total, nil
}

// History returns a secret's last changes, newest first: as many as an organization has
// versions, however often other secrets changed. It returns ErrSecretNotFound if nothing
// is known of the secret.
func (s *SecretsView) History(name string) ([]SecretChange, error) {
	if !s.c.sees(name) {
		return nil, ErrSecretNotFound
	}
	history, err := s.m.SecretHistory(name)
	if err == nil && len(history) == 0 {
		err = ErrSecretNotFound
	}
	if err != nil {
		return nil, err
	}
	authors := authors{view: s.v, c: s.c, org: s.org}
	out := make([]SecretChange, len(history))
	for i, ch := range history {
		if out[i], err = authors.describe(name, ch); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Readers returns the readers of the secrets with these names, as Keep.Readers does.
func (s *SecretsView) Readers(names []string) ([]SecretReaders, error) {
	q := readersQuery{view: s.v, c: s.c, m: s.m, last: names == nil, known: map[reading]*readerIdentity{}}
	err := q.prepare(s.org, names)
	switch {
	case err != nil:
	case names == nil:
		err = s.m.EachWritten(q.add)
	default:
		err = q.addNamed(names)
	}
	return q.out, err
}

// Versions returns the stored versions, newest first, as Keep.History does.
func (s *SecretsView) Versions() ([]VersionInfo, error) { return s.m.history() }

// AuthorNames are the names of a version's author, as far as the caller may know.
type AuthorNames struct {
	User        string
	Description string // the token's
}

// Authors returns the names of the authors of versions.
func (s *SecretsView) Authors(versions []VersionInfo) ([]AuthorNames, error) {
	out := make([]AuthorNames, len(versions))
	authors := authors{view: s.v, c: s.c, org: s.org}
	for i, version := range versions {
		d, err := authors.describe("", secretmap.SecretChange{Author: secretmap.Author{User: version.User, Token: version.Token, Protocol: version.Protocol}})
		if err != nil {
			return nil, err
		}
		out[i] = AuthorNames{d.UserName, d.Description}
	}
	return out, nil
}

// Current returns the number of the current version, 0 if there is none.
func (s *SecretsView) Current() uint64 { return s.m.Current() }

// MaxVersions returns how many versions are stored.
func (s *SecretsView) MaxVersions() int {
	if n := s.m.Settings().MaxVersions; n != 0 {
		return n
	}
	return DefaultMaxVersions
}

// Compare returns how the secrets differ between two stored versions; to 0 means the
// current one, whose number it returns.
func (s *SecretsView) Compare(from, to uint64) (out Comparison, version uint64, err error) {
	stored := to
	if version = to; to == 0 {
		stored, version = s.m.Map.Current(), s.m.Current()
	}
	for _, n := range []uint64{from, to} {
		if n == 0 {
			continue
		}
		if changed, err := s.m.changed(n); err != nil || !changed {
			return out, 0, cmp.Or(err, error(ErrVersionNotFound))
		}
	}
	out, err = s.m.Map.Compare(from, stored, s.c.visible())
	return out, version, err
}
