package keep

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// SecretReaders has the readers of a secret, the last one first.
type SecretReaders struct {
	Name    string
	Readers []SecretReader
}

// SecretReader is the last read of a secret by a token or by a user's sessions.
type SecretReader struct {
	// Token is zero for a session. Token and User are zero if the caller may not
	// know who it was.
	Token       ID
	Description string // the token's
	User        ID
	UserName    string

	Time     time.Time
	Protocol Protocol
	Version  uint64 // 0: the caller may not know
	Outdated bool   // the secret has changed since that version
}

// Readers returns the readers of the secrets with these names, as far as the readers
// still exist. If names is nil, it returns only the last reader of each secret that has
// any. A read before the secret was last added doesn't count. A read of all secrets
// counts for each of them. Needs read on the organization's secrets. Tokens and users
// that the caller may not read have no ID; a caller limited to some names doesn't see
// them at all.
func (k *Keep) Readers(ctx context.Context, c Caller, org ID, names []string) (out []SecretReaders, err error) {
	err = k.ViewSecrets(ctx, c, "secrets.readers", org, names, func(s *SecretsView) (err error) {
		out, err = s.Readers(names)
		return err
	})
	return out, err
}

// readersQuery collects the readers of secrets.
type readersQuery struct {
	*view
	c     *Caller
	m     *knownMap
	last  bool // only the last reader of each secret
	known map[reading]*readerIdentity

	all       []reader            // of everything, the last one first
	each      map[string][]reader // of single secrets, by reference
	reference func(name string) string
	added     map[string]uint64
	out       []SecretReaders
}

type reader struct {
	readRecord
	*readerIdentity
}

// readerIdentity is a token or a user, as far as the caller may know.
type readerIdentity struct {
	SecretReader
	names []string // the token's patterns
}

// prepare reads what is known of all readers.
func (q *readersQuery) prepare(org ID, names []string) error {
	stored, seen, err := q.activity(org)
	if err != nil {
		return err
	}
	q.reference, q.each = q.m.References(), map[string][]reader{}
	for _, r := range stored.mergeReads(seen, &q.m.Map, q.Now) {
		id, err := q.identify(r)
		if err != nil {
			return err
		}
		switch {
		case id == nil:
		case r.Secret == "":
			q.all = append(q.all, reader{r, id})
		default:
			q.each[r.Secret] = append(q.each[r.Secret], reader{r, id})
		}
	}
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	q.added, err = q.m.Additions(func(name string) bool {
		return q.c.sees(name) && (names == nil || wanted[name])
	})
	return err
}

// identify returns who read, nil if the caller must not see that or if the token or the
// user was deleted.
func (q *readersQuery) identify(r readRecord) (*readerIdentity, error) {
	by := reading{token: r.Token, user: r.User}
	if known, ok := q.known[by]; ok {
		return known, nil
	}
	var out readerIdentity
	var may, err error
	if r.Token != 0 {
		var t Token
		if t, err = q.dir.ListedToken(r.Token); err == nil {
			t, err = q.dir.Describe(t)
		}
		if r.Token != q.c.actor() {
			may = q.c.mayToken(acl.Read, &t)
		}
		out.SecretReader = SecretReader{Token: r.Token, Description: t.Description, User: t.User, UserName: t.UserName}
		out.names = t.Names
	} else {
		var u User
		u, err = q.dir.User(r.User)
		may = q.c.mayUser(acl.Read, r.User)
		out.SecretReader = SecretReader{User: r.User, UserName: u.Name}
	}
	known := &out
	switch {
	case CodeOf(err) == CodeNotFound:
		known, err = nil, nil
	case err != nil:
		known, err = nil, q.dir.SkipDamaged(err)
	case may != nil && q.c.Limited():
		known = nil
	case may != nil:
		out.SecretReader = SecretReader{}
	}
	q.known[by] = known
	return known, err
}

func (q *readersQuery) addNamed(names []string) error {
	names = slices.Clone(names)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		written, ok, err := q.m.Written(name)
		if err == nil && ok {
			err = q.add(name, written)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add adds the readers of a secret whose value a version wrote.
func (q *readersQuery) add(name string, written uint64) error {
	if err := q.Context().Err(); err != nil || !q.c.sees(name) {
		return err
	}
	var found []reader
	take := func(from []reader) {
		for _, r := range from {
			if r.Version >= q.added[name] && fitsNames(r.names, name) {
				if found = append(found, r); q.last {
					return
				}
			}
		}
	}
	take(q.all)
	if len(q.each) > 0 {
		take(q.each[q.reference(name)])
	}
	slices.SortStableFunc(found, func(a, b reader) int { return cmp.Compare(b.At, a.At) })
	if q.last {
		if len(found) == 0 {
			return nil
		}
		found = found[:1]
	}
	out := SecretReaders{Name: name}
	had := map[*readerIdentity]bool{}
	for _, r := range found {
		if had[r.readerIdentity] {
			continue // one of everything, and one of this secret
		}
		had[r.readerIdentity] = true
		if err := q.reserveItem(len(name) + len(r.Description) + len(r.UserName)); err != nil {
			return err
		}
		out.Readers = append(out.Readers, q.show(r, written))
	}
	q.out = append(q.out, out)
	return nil
}

func (q *readersQuery) show(r reader, written uint64) SecretReader {
	out := r.SecretReader
	out.Time, out.Protocol, out.Outdated = time.UnixMicro(r.At).UTC(), r.Protocol, r.Version < written
	switch {
	case !q.c.Limited():
		out.Version = r.Version
	case !out.Outdated: // later versions may have changed other names
		out.Version = written
	}
	return out
}
