package keep

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Token is an API token (InfluxDB: authorization), without the secret part.
type Token struct {
	ID          ID
	Org         ID
	OrgName     string
	User        ID
	UserName    string
	Active      bool
	Description string
	Permissions acl.Set
	Created     time.Time
	Updated     time.Time
	Expires     time.Time // zero: never
	Names       []string  // patterns of the names it is for; none: all
	// Value is the token itself, set in the answer to its creation and never
	// again: only a keyed hash of it is kept.
	Value string
}

// TokenFilter chooses tokens; what is zero does not choose.
type TokenFilter struct {
	ID       ID
	Org      ID
	OrgName  string
	User     ID
	UserName string
}

// NewToken describes a token to be made.
type NewToken struct {
	Org         ID
	User        ID // 0: the caller's
	Active      bool
	Description string
	Permissions acl.Set
	Expires     time.Time
	Names       []string // nil: all; an empty list is refused
}

// token returns the token's record, or ErrTokenNotFound.
func (v *view) token(id ID) (*tokenRecord, error) {
	k := record.Key(record.TableToken, id)
	r, err := record.Load[tokenRecord](v.Reader, k)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrTokenNotFound
	}
	entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableTokenHash, r.Hash))
	if err != nil {
		return nil, err
	}
	if entry == nil || entry.ID != id {
		return nil, record.Damaged(k, record.ErrNoEntry)
	}
	return r, record.CheckRevisions(k, r.Revision, entry.Revision)
}

// listedToken returns the record of a token that is no login token: those are
// not on the list.
func (v *view) listedToken(id ID) (*tokenRecord, error) {
	r, err := v.token(id)
	if err == nil && r.Parent != 0 {
		err = ErrTokenNotFound
	}
	return r, err
}

// tokenByValue finds the token that was sent, nil when there is none.
func (v *view) tokenByValue(value string) (ID, *tokenRecord, error) {
	if !isTokenValue(value) {
		return 0, nil, nil
	}
	entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableTokenHash, v.Hash("token", value)))
	if err == nil && entry == nil {
		entry, err = v.importedToken(value)
	}
	if err != nil || entry == nil {
		return 0, nil, err
	}
	r, err := v.token(entry.ID)
	return entry.ID, r, err
}

// importedToken finds a token of which InfluxDB kept a hash alone.
func (v *view) importedToken(value string) (*entryRecord, error) {
	for _, h := range influxHashes(v.DB(), value) {
		if entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableTokenHash, h)); err != nil || entry != nil {
			return entry, err
		}
	}
	return nil, nil
}

func (t *tx) putToken(id ID, old, r *tokenRecord) error {
	t.changeDirectory()
	entry := record.HashKey(record.TableTokenHash, r.Hash)
	if old != nil {
		r.Revision = old.Revision + 1
	} else if e, err := record.Load[entryRecord](t.Reader, entry); err != nil {
		return err
	} else if e != nil {
		return errorf(CodeConflict, "token already exists")
	}
	if err := t.w.PutJSON(entry, entryRecord{Revision: r.Revision, ID: id}); err != nil {
		return err
	}
	return t.w.PutJSON(record.Key(record.TableToken, id), r)
}

func (t *tx) deleteToken(id ID, r *tokenRecord) error {
	t.changeDirectory()
	if err := t.w.Delete(record.HashKey(record.TableTokenHash, r.Hash)); err != nil {
		return err
	}
	return t.w.Delete(record.Key(record.TableToken, id))
}

// describe adds the names of the organization and the user. It fails as
// InfluxDB does when one of them is gone.
func (v *view) describe(id ID, r *tokenRecord) (Token, error) {
	org, err := v.org(r.Org)
	if err != nil {
		return Token{}, err
	}
	user, err := v.user(r.User)
	if err != nil {
		return Token{}, err
	}
	return Token{
		ID: id, Org: r.Org, OrgName: org.Name, User: r.User, UserName: user.Name,
		Active: !r.Inactive, Description: r.Description, Permissions: toSet(r.Permissions),
		Created: r.Created, Updated: r.Updated, Expires: r.Expires, Names: r.Names,
	}, nil
}

// newTokenValue returns 64 random bytes in InfluxDB's form.
func newTokenValue() string {
	b := make([]byte, 64)
	rand.Read(b) // never fails, see crypto/rand
	return base64.URLEncoding.EncodeToString(b)
}

// mayToken asks for a permission on a token and on its user, as InfluxDB does. To
// a caller limited to some names, tokens for others don't exist.
func (c *Caller) mayToken(a acl.Action, id ID, r *tokenRecord) error {
	if err := c.may(a, acl.Resource{Type: acl.Authorizations, ID: id, OrgID: r.Org}); err != nil {
		return err
	}
	if err := c.mayUser(a, r.User); err != nil {
		return err
	}
	if !c.containsNames(r.Names) {
		return ErrTokenNotFound
	}
	if a == acl.Write && !c.containsTime(r.Expires) {
		return errorf(CodeForbidden, "a token that expires can't change one that lives longer")
	}
	return nil
}

// ownToken returns a token that the caller has the permission for. Without
// permission to read it, there is no such token, unless it is the caller's own.
func (v *view) ownToken(c *Caller, a acl.Action, id ID) (*tokenRecord, error) {
	if c.inactive {
		return nil, ErrTokenInactive
	}
	r, err := v.listedToken(id)
	if err != nil {
		return nil, err
	}
	if err := c.mayToken(a, id, r); err != nil {
		if id != c.Token && c.mayToken(acl.Read, id, r) != nil {
			return nil, ErrTokenNotFound
		}
		return nil, err
	}
	return r, nil
}

// Token returns one token. Needs read on it and on its user.
func (k *Keep) Token(ctx context.Context, c Caller, id ID) (Token, error) {
	var out Token
	rec := c.record("tokens.read", 0)
	rec.Target = id.String()
	err := k.read(ctx, rec, func(v *view) error {
		r, err := v.ownToken(&c, acl.Read, id)
		if err == nil {
			out, err = v.describe(id, r)
		}
		return err
	})
	return out, err
}

// Tokens returns the tokens that the filter chooses and the caller may read.
func (k *Keep) Tokens(ctx context.Context, c Caller, f TokenFilter) ([]Token, error) {
	var out []Token
	err := k.read(ctx, c.record("tokens.list", f.Org), func(v *view) error {
		out = nil
		f, found, err := v.resolve(&c, f)
		if err != nil || !found {
			return err
		}
		if f.ID != 0 { // as in InfluxDB, nothing else chooses then
			return v.addToken(&c, f.ID, &out)
		}
		return v.ScanIDs(record.TableToken, func(id ID) error {
			r, err := v.token(id)
			if err != nil {
				return err
			}
			if r.Parent != 0 || (f.Org != 0 && r.Org != f.Org) || (f.User != 0 && r.User != f.User) {
				return nil
			}
			if c.mayToken(acl.Read, id, r) != nil {
				return nil
			}
			t, err := v.describe(id, r)
			if CodeOf(err) == CodeNotFound {
				return nil // of a user or an organization that is gone
			}
			out = append(out, t)
			return err
		})
	})
	return out, err
}

// addToken appends the token if it is there and readable. That it is missing is
// told only to those who may read all.
func (v *view) addToken(c *Caller, id ID, out *[]Token) error {
	r, err := v.listedToken(id)
	if err == nil {
		err = c.mayToken(acl.Read, id, r)
	}
	switch {
	case CodeOf(err) == CodeUnauthorized, errors.Is(err, ErrTokenNotFound) && !c.readsAll(acl.Authorizations):
		return nil
	case err != nil:
		return err
	}
	t, err := v.describe(id, r)
	if err != nil {
		if CodeOf(err) == CodeNotFound {
			return nil // of a user or an organization that is gone
		}
		return err
	}
	*out = append(*out, t)
	return nil
}

// resolve replaces names in a filter by IDs. One who may not read all
// organizations or users is not told that a name is unknown.
func (v *view) resolve(c *Caller, f TokenFilter) (TokenFilter, bool, error) {
	var err error
	if f.User == 0 && f.UserName != "" {
		if f.User, err = v.userByName(f.UserName); err != nil {
			return f, false, err
		}
		if f.User == 0 && c.readsAll(acl.Users) {
			return f, false, ErrUserNotFound
		}
		if f.User == 0 {
			return f, false, nil
		}
	}
	if f.Org == 0 && f.OrgName != "" {
		if f.Org, err = v.orgByName(f.OrgName); err != nil {
			return f, false, err
		}
		if f.Org == 0 && c.readsAll(acl.Orgs) {
			return f, false, unknownOrgName(f.OrgName)
		}
		if f.Org == 0 {
			return f, false, nil
		}
	}
	return f, true, nil
}

// CreateToken makes a token. Needs write on the organization's tokens and on
// the user, and every permission that the token is to have.
func (k *Keep) CreateToken(ctx context.Context, c Caller, n NewToken) (Token, error) {
	value := newTokenValue()
	var out Token
	rec := c.record("tokens.create", n.Org)
	err := k.update(ctx, rec, func(t *tx) error {
		if n.User == 0 {
			n.User = c.User
		}
		if err := t.mayCreate(&c, n); err != nil {
			return err
		}
		if err := t.checkNewToken(n); err != nil {
			return err
		}
		id, err := t.w.NewID(record.TableToken)
		if err != nil {
			return err
		}
		r := &tokenRecord{
			Hash: t.Hash("token", value), Org: n.Org, User: n.User, Inactive: !n.Active,
			Description: n.Description, Permissions: toRecords(n.Permissions),
			Created: t.Now, Updated: t.Now, Expires: n.Expires, Names: n.Names,
		}
		if err := t.putToken(id, nil, r); err != nil {
			return err
		}
		out, err = t.describe(id, r)
		out.Value = value
		rec.Target = id.String()
		return err
	})
	return out, err
}

func (v *view) checkNewToken(n NewToken) error {
	for _, p := range n.Permissions {
		if p.Resource.OrgID != 0 && p.Resource.OrgID != n.Org {
			return errorf(CodeInvalid, "permission %s is not for org id %s", p, n.Org)
		}
	}
	if !n.Expires.IsZero() && !n.Expires.After(v.Now) {
		return errorf(CodeInvalid, "expiresAt must be in the future")
	}
	if n.Names != nil && len(n.Names) == 0 {
		return errorf(CodeInvalid, "names must have at least one pattern")
	}
	for _, p := range n.Names {
		if p == "" || strings.ContainsRune(p, 0) || len(p) > MaxName {
			return errorf(CodeInvalid, "a name pattern must have 1 to %d bytes", MaxName)
		}
	}
	if len(n.Names) > 100 {
		return errorf(CodeInvalid, "a token can have at most 100 name patterns")
	}
	if _, err := v.user(n.User); err != nil {
		if CodeOf(err) == CodeNotFound {
			return errorf(CodeInvalid, "unable to create token") // InfluxDB's words
		}
		return err
	}
	if _, err := v.org(n.Org); err != nil {
		if CodeOf(err) == CodeNotFound {
			return errorf(CodeInvalid, "unable to create token")
		}
		return err
	}
	return nil
}

// TokenUpdate changes what is not nil.
type TokenUpdate struct {
	Active      *bool
	Description *string
	// Wrong is what a protocol finds wrong with the update. Only one who may
	// change the token is told.
	Wrong error
}

// UpdateToken changes a token. Needs write on it and on its user.
func (k *Keep) UpdateToken(ctx context.Context, c Caller, id ID, u TokenUpdate) (Token, error) {
	var out Token
	rec := c.record("tokens.update", 0)
	rec.Target = id.String()
	err := k.update(ctx, rec, func(t *tx) error {
		if _, err := t.ownToken(&c, acl.Read, id); err != nil {
			return err
		}
		old, err := t.ownToken(&c, acl.Write, id)
		if err != nil {
			return err
		}
		if u.Wrong != nil {
			return u.Wrong
		}
		r := *old
		r.Updated = t.Now
		if u.Active != nil {
			r.Inactive = !*u.Active
		}
		if u.Description != nil {
			r.Description = *u.Description
		}
		if out, err = t.describe(id, &r); err != nil {
			return err
		}
		return t.putToken(id, old, &r)
	})
	return out, err
}

// DeleteToken removes a token, and with it the login tokens that it gave.
// Needs write on it and on its user.
func (k *Keep) DeleteToken(ctx context.Context, c Caller, id ID) error {
	rec := c.record("tokens.delete", 0)
	rec.Target = id.String()
	return k.update(ctx, rec, func(t *tx) error {
		r, err := t.ownToken(&c, acl.Write, id)
		if err != nil {
			return err
		}
		return t.deleteToken(id, r)
	})
}
