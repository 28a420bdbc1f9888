package keep

import (
	"context"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// SecretChange is a change of one secret, with the names of its author that the
// caller may know.
type SecretChange struct {
	Name string
	secretmap.SecretChange
	UserName    string
	Description string // the token's
}

// SecretFilter selects and orders secrets.
type SecretFilter struct {
	Pattern  string // in which * matches any text; empty: all
	Contains string // a part of the name, in upper or lower case; empty: all
	ByChange bool   // in the order of their last changes, else of their names
	Page     Page   // without After
}

func (f *SecretFilter) matches(name string) bool {
	return (f.Pattern == "" || matchName(f.Pattern, name)) && strings.Contains(strings.ToLower(name), strings.ToLower(f.Contains))
}

// SecretChanges returns the last change of each secret that exists, and the number
// of secrets that match the filter. Needs read on the organization's secrets.
func (k *Keep) SecretChanges(ctx context.Context, c Caller, org ID, f SecretFilter) (list []SecretChange, total int, err error) {
	err = k.ViewSecrets(ctx, c, "secrets.list", org, nil, func(s *SecretsView) (err error) {
		list, total, err = s.Changes(f)
		return err
	})
	return list, total, err
}

// SecretHistory returns a secret's last changes, as SecretsView.History does.
func (k *Keep) SecretHistory(ctx context.Context, c Caller, org ID, name string) (out []SecretChange, err error) {
	err = k.ViewSecrets(ctx, c, "secrets.history", org, []string{name}, func(s *SecretsView) (err error) {
		out, err = s.History(name)
		return err
	})
	return out, err
}

// ValuesAt returns the values that the names had in a version; it omits names
// without one. A version that no longer exists still has the values that the
// secrets' own histories got there. If names is nil, ValuesAt returns all secrets of
// a version that exists. Needs read on the organization's secrets.
func (k *Keep) ValuesAt(ctx context.Context, c Caller, org ID, names []string, version uint64) ([]Secret, error) {
	if names == nil {
		d, err := k.Document(ctx, c, org, version)
		return d.Secrets, err
	}
	var out []Secret
	var read lastRead
	var has []string
	rec := c.record("secrets.read", org)
	rec.Version = version
	err := k.read(ctx, rec, func(v *view) error {
		m, err := v.readableMap(&c, org)
		if err != nil {
			return err
		}
		if out, rec.Names, err = m.valuesAt(names, version); err != nil {
			return err
		}
		read = lastRead{m.ID(), v.Now, m.Map.Current(), c.Origin.Protocol}
		has, err = m.stillCurrent(out)
		return err
	})
	if err == nil {
		k.activity.noteRead(&c, org, read, has)
	}
	return out, err
}

// RollbackSecret gives a secret the value that it had in a version, in a new
// version. Needs read and write on the organization's secrets.
func (k *Keep) RollbackSecret(ctx context.Context, c Caller, org ID, name string, version uint64) (ChangeResult, error) {
	return k.rollbackSecret(ctx, c, org, name, version, nil)
}

// RollbackSecretSince is RollbackSecret, but returns ErrSecretChanged like ChangeSince.
func (k *Keep) RollbackSecretSince(ctx context.Context, c Caller, org ID, name string, version, since uint64) (ChangeResult, error) {
	return k.rollbackSecret(ctx, c, org, name, version, &since)
}

func (k *Keep) rollbackSecret(ctx context.Context, c Caller, org ID, name string, version uint64, since *uint64) (ChangeResult, error) {
	rec := c.record("secrets.rollback", org)
	rec.Names = []string{name}
	return k.restore(ctx, c, org, rec, func(t *tx) (ChangeResult, error) {
		ch := Change{Set: map[string]string{name: ""}}
		if err := validate(ch, &c, org); err != nil {
			return ChangeResult{}, err
		}
		if since != nil {
			if err := t.unchanged(org, []string{name}, *since); err != nil {
				return ChangeResult{}, err
			}
		}
		m, err := t.knownMap(&c, org)
		if err != nil {
			return ChangeResult{}, err
		}
		had, _, err := m.valuesAt([]string{name}, version)
		if err == nil && len(had) == 0 {
			err = ErrVersionNotFound
		}
		if err != nil {
			return ChangeResult{}, err
		}
		current := m.Map.Current()
		ch.Set[name], ch.CAS = had[0].Value, &current
		return t.apply(&c, org, ch, rec)
	})
}

// authors finds the names of those who changed an organization's secrets.
type authors struct {
	*view
	c     *Caller
	org   ID
	known map[ID]string // of users and tokens
}

// describe adds to a change what the caller may know of its author. A caller limited
// to some names knows only its own changes, as in the history of versions.
func (a *authors) describe(name string, ch secretmap.SecretChange) (SecretChange, error) {
	out := SecretChange{Name: name, SecretChange: ch}
	if a.c.Limited() && ch.Author.Token != a.c.actor() {
		out.Author = secretmap.Author{}
		return out, nil
	}
	var err error
	if out.UserName, err = a.name(ch.Author.User, a.user); err == nil {
		out.Description, err = a.name(ch.Author.Token, a.token)
	}
	return out, err
}

// name finds a name once.
func (a *authors) name(id ID, find func(ID) (string, error)) (string, error) {
	if id == 0 {
		return "", nil
	}
	if name, ok := a.known[id]; ok {
		return name, nil
	}
	name, err := find(id)
	if err = a.dir.SkipDamaged(err); err != nil && CodeOf(err) != CodeNotFound {
		return "", err
	}
	if a.known == nil {
		a.known = make(map[ID]string)
	}
	a.known[id] = name
	return name, nil
}

// user returns a user's name, if the caller may read the user or list the members
// of the organization.
func (a *authors) user(id ID) (string, error) {
	if a.c.mayUser(acl.Read, id) != nil {
		if a.c.mayOrg(acl.Read, a.org) != nil {
			return "", nil
		}
		if role, err := a.dir.Role(a.org, id); err != nil || role == "" {
			return "", err
		}
	}
	u, err := a.dir.User(id)
	return u.Name, err
}

// token returns a token's description, if the caller may read the token.
func (a *authors) token(id ID) (string, error) {
	t, err := a.dir.ListedToken(id)
	if err != nil || a.c.mayToken(acl.Read, &t) != nil {
		return "", err
	}
	return t.Description, nil
}
