package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// Secret is a name with its value, and Document the content of one version of an
// organization's secrets.
type (
	Secret   = secretmap.Secret
	Document = secretmap.Document
)

// readableMap returns an organization's secrets if the caller may read them.
func (v *view) readableMap(c *Caller, org ID) (*knownMap, error) {
	if err := v.allowSecrets(c, acl.Read, org); err != nil {
		return nil, err
	}
	return v.knownMap(c, org)
}

// SecretNames returns the names of an organization's secrets, in byte order.
// Needs read on the organization's secrets. The slice must not be modified.
func (k *Keep) SecretNames(ctx context.Context, c Caller, org ID) ([]string, error) {
	var out []string
	rec := c.record("secrets.list", org)
	err := k.read(ctx, rec, func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err != nil {
			return err
		}
		rec.Version = m.Map.Current()
		if out, err = m.Names(); err != nil || !c.Limited() {
			return err
		}
		all := out
		out = make([]string, 0, len(all))
		for _, name := range all {
			if c.sees(name) {
				out = append(out, name)
			}
		}
		return nil
	})
	return out, err
}

// SecretOrganizations returns the organizations that have secret versions or
// settings and whose secrets the caller may read, in the order of their IDs. They
// have no Name if the caller may not read the organization itself, or if its secrets
// were created under its ID: as in Vault, a document stays where it was created.
func (k *Keep) SecretOrganizations(ctx context.Context, c Caller) ([]Organization, error) {
	var out []Organization
	err := k.read(ctx, c.record("secrets.organizations", 0), func(v *view) error {
		out = nil
		if c.inactive {
			return ErrTokenInactive
		}
		return k.maps.Organizations(v.Reader, func(id ID) error {
			if c.maySecrets(acl.Read, id) != nil {
				return nil
			}
			m, err := v.knownMap(&c, id)
			if err != nil || !m.Exists() {
				return err
			}
			org := Organization{ID: id}
			if c.mayOrg(acl.Read, id) == nil && !m.ByID() {
				org, err = v.dir.Organization(id)
				if err = v.dir.SkipDamaged(err); err != nil && CodeOf(err) != CodeNotFound {
					return err
				}
				org.ID = id
			}
			out = append(out, org)
			return v.reserveItem(len(org.Name))
		})
	})
	return out, err
}

// Document returns the content of a version; 0 is the current one. It returns
// ErrVersionNotFound if there is no such version; a hidden version has no secrets.
// Needs read on the organization's secrets.
func (k *Keep) Document(ctx context.Context, c Caller, org ID, version uint64) (Document, error) {
	var out Document
	var read lastRead
	var has []string // nil: all
	rec := c.record("secrets.read", org)
	err := k.read(ctx, rec, func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err != nil {
			return err
		}
		if out, rec.Names, err = m.document(version, nil); err != nil {
			return err
		}
		current := m.Map.Current()
		read = lastRead{m.ID(), v.Now, current, c.Origin.Protocol}
		if rec.Version = version; version == 0 {
			rec.Version = current
		}
		if has = nil; rec.Version != current {
			has, err = m.stillCurrent(out.Secrets)
		}
		return err
	})
	if err == nil && len(out.Secrets) > 0 {
		k.activity.noteRead(&c, org, read, has)
	}
	return out, err
}

// Values returns the current values of the names, of all if names is nil; it omits
// names that don't exist. If tag is current, nothing has changed, and Values
// returns a Document with that Tag and no secrets; this too counts as a read. Needs
// read on the organization's secrets.
func (k *Keep) Values(ctx context.Context, c Caller, org ID, names []string, tag string) (Document, error) {
	var out Document
	var read lastRead
	has := names
	rec := c.record("secrets.read", org)
	err := k.read(ctx, rec, func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err != nil {
			return err
		}
		rec.Version = m.Map.Current()
		out = Document{Tag: m.Tag()}
		if m.Empty() {
			has = []string{}
			return nil
		}
		read = lastRead{m.ID(), v.Now, rec.Version, c.Origin.Protocol}
		if out.Tag == tag {
			if names != nil {
				has, err = m.present(names)
			}
			return err
		}
		out, rec.Names, err = m.document(0, names)
		if names != nil {
			has = rec.Names
		}
		return err
	})
	if err == nil {
		k.activity.noteRead(&c, org, read, has)
	}
	return out, err
}
