package keep

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
)

// Token is an API token (an authorization in InfluxDB).
type Token = directory.Token

// TokenFilter selects tokens; zero fields are ignored.
type TokenFilter struct {
	ID       ID
	Org      ID
	OrgName  string
	User     ID
	UserName string
}

// NewToken describes a token to create.
type NewToken struct {
	Org         ID
	User        ID // 0: the caller's
	Active      bool
	Description string
	Permissions acl.Set
	Expires     time.Time
	Names       []string // nil: all; an empty list is refused
}

// mayToken checks permission on a token and on its user, as InfluxDB does. For a
// caller limited to some names, tokens for others don't exist.
func (c *Caller) mayToken(a acl.Action, t *Token) error {
	if err := c.may(a, acl.Resource{Type: acl.Authorizations, ID: t.ID, OrgID: t.Org}); err != nil {
		return err
	}
	if err := c.mayUser(a, t.User); err != nil {
		return err
	}
	if !c.containsNames(t.Names) {
		return ErrTokenNotFound
	}
	if a == acl.Write && !c.containsTime(t.Expires) {
		return errorf(CodeForbidden, "a token that expires can't change one that lives longer")
	}
	return nil
}

// ownToken returns a token that the caller has permission for. Without permission
// to read it, it is reported as missing unless it is the caller's own.
func (v *view) ownToken(c *Caller, a acl.Action, id ID) (Token, error) {
	if c.inactive {
		return Token{}, ErrTokenInactive
	}
	t, err := v.dir.ListedToken(id)
	if err != nil {
		return Token{}, err
	}
	if err := c.mayToken(a, &t); err != nil {
		if id != c.Token && c.mayToken(acl.Read, &t) != nil {
			return Token{}, ErrTokenNotFound
		}
		return Token{}, err
	}
	return t, nil
}

// Token returns one token. Needs read on it and on its user.
func (k *Keep) Token(ctx context.Context, c Caller, id ID) (Token, error) {
	var out Token
	err := k.readToken(ctx, c, id, func(_ *view, t Token) error { out = t; return nil })
	return out, err
}

// readToken calls fn with one token.
func (k *Keep) readToken(ctx context.Context, c Caller, id ID, fn func(*view, Token) error) error {
	rec := c.record("tokens.read", 0)
	rec.Target = id.String()
	return k.read(ctx, rec, func(v *view) error {
		t, err := v.ownToken(&c, acl.Read, id)
		if err == nil {
			t, err = v.dir.Describe(t)
		}
		if err != nil {
			return err
		}
		return fn(v, t)
	})
}

// Memory for parts of a token in a list.
const (
	permissionSize = 64
	nameSize       = 64
)

// Tokens returns the tokens that match the filter and that the caller may read.
func (k *Keep) Tokens(ctx context.Context, c Caller, f TokenFilter) ([]Token, error) {
	var out []Token
	err := k.read(ctx, c.record("tokens.list", f.Org), func(v *view) (err error) {
		out, err = v.tokens(&c, f)
		return err
	})
	return out, err
}

func (v *view) tokens(c *Caller, f TokenFilter) (out []Token, err error) {
	f, found, err := v.resolve(c, f)
	if err != nil || !found {
		return nil, err
	}
	if f.ID != 0 { // as in InfluxDB, nothing else chooses then
		err = v.addToken(c, f.ID, &out)
		return out, err
	}
	err = v.dir.EachToken(func(t Token) error {
		if t.Parent != 0 || (f.Org != 0 && t.Org != f.Org) || (f.User != 0 && t.User != f.User) {
			return nil
		}
		if c.mayToken(acl.Read, &t) != nil {
			return nil
		}
		t, err := v.dir.Describe(t)
		if CodeOf(err) == CodeNotFound {
			return nil // of a user or an organization that is gone
		}
		if err != nil {
			return err
		}
		out = append(out, t)
		return v.reserveItem(len(t.OrgName) + len(t.UserName) + len(t.Description) + permissionSize*len(t.Permissions) + nameSize*len(t.Names))
	})
	return out, err
}

// TokenUse is the last use of a token.
type TokenUse struct {
	Token    ID
	Time     time.Time // up to a minute before the last use
	Protocol Protocol
}

// TokenUses returns the last uses of the tokens that match the filter, that the caller
// may read, and that were used.
func (k *Keep) TokenUses(ctx context.Context, c Caller, f TokenFilter) ([]TokenUse, error) {
	var out []TokenUse
	err := k.read(ctx, c.record("tokens.uses", f.Org), func(v *view) error {
		tokens, err := v.tokens(&c, f)
		if err == nil {
			out, err = v.uses(tokens)
		}
		return err
	})
	return out, err
}

// UsedTokens is Tokens with the last uses of those that were used.
func (k *Keep) UsedTokens(ctx context.Context, c Caller, f TokenFilter) ([]Token, []TokenUse, error) {
	var tokens []Token
	var uses []TokenUse
	err := k.read(ctx, c.record("tokens.list", f.Org), func(v *view) (err error) {
		if tokens, err = v.tokens(&c, f); err == nil {
			uses, err = v.uses(tokens)
		}
		return err
	})
	return tokens, uses, err
}

// UsedToken is Token with its last use, which is zero if there was none.
func (k *Keep) UsedToken(ctx context.Context, c Caller, id ID) (Token, TokenUse, error) {
	var out Token
	var use TokenUse
	err := k.readToken(ctx, c, id, func(v *view, t Token) error {
		out, use = t, TokenUse{}
		uses, err := v.uses([]Token{t})
		if len(uses) > 0 {
			use = uses[0]
		}
		return err
	})
	return out, use, err
}

// uses returns the last uses of those tokens that were used.
func (v *view) uses(tokens []Token) (out []TokenUse, err error) {
	byOrg := map[ID]map[ID]bool{}
	for _, t := range tokens {
		if byOrg[t.Org] == nil {
			byOrg[t.Org] = map[ID]bool{}
		}
		byOrg[t.Org][t.ID] = true
	}
	for _, org := range slices.Sorted(maps.Keys(byOrg)) {
		stored, seen, err := v.activity(org)
		if err = v.dir.SkipDamaged(err); err != nil {
			return nil, err
		}
		for _, use := range stored.mergeUses(seen, v.Now) {
			if byOrg[org][use.Token] {
				out = append(out, TokenUse{use.Token, time.UnixMicro(use.At).UTC(), use.Protocol})
			}
		}
	}
	return out, nil
}

// addToken appends the token if it exists and is readable. Only callers who may
// read all tokens get an error for a missing one.
func (v *view) addToken(c *Caller, id ID, out *[]Token) error {
	t, err := v.dir.ListedToken(id)
	if err == nil {
		err = c.mayToken(acl.Read, &t)
	}
	switch {
	case CodeOf(err) == CodeUnauthorized, errors.Is(err, ErrTokenNotFound) && !c.mayReadAll(acl.Authorizations):
		return nil
	case err != nil:
		return err
	}
	if t, err = v.dir.Describe(t); err != nil {
		if CodeOf(err) == CodeNotFound {
			return nil // of a user or an organization that is gone
		}
		return err
	}
	*out = append(*out, t)
	return nil
}

// resolve replaces names in a filter with IDs. Without permission to read all
// organizations or users, the caller can't tell whether a name exists.
func (v *view) resolve(c *Caller, f TokenFilter) (TokenFilter, bool, error) {
	var err error
	if f.User == 0 && f.UserName != "" {
		if f.User, err = v.dir.UserNamed(f.UserName); err != nil {
			return f, false, err
		}
		if f.User == 0 && c.mayReadAll(acl.Users) {
			return f, false, ErrUserNotFound
		}
		if f.User == 0 {
			return f, false, nil
		}
	}
	if f.Org == 0 && f.OrgName != "" {
		if f.Org, err = v.dir.FindOrganization(f.OrgName); err != nil {
			return f, false, err
		}
		if f.Org == 0 && c.mayReadAll(acl.Orgs) {
			return f, false, unknownOrgName(f.OrgName)
		}
		if f.Org == 0 {
			return f, false, nil
		}
	}
	return f, true, nil
}

// CreateToken creates a token. Needs write on the organization's tokens and on the
// user, and every permission that the token gets.
func (k *Keep) CreateToken(ctx context.Context, c Caller, n NewToken) (Token, error) {
	value := directory.NewTokenValue()
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
		id, err := t.dir.NewTokenID()
		if err != nil {
			return err
		}
		out, err = t.dir.Describe(Token{
			ID: id, Org: n.Org, User: n.User, Active: n.Active,
			Description: n.Description, Permissions: n.Permissions,
			Created: t.Now, Updated: t.Now, Expires: n.Expires, Names: n.Names, Value: value,
		})
		if err != nil {
			return err
		}
		rec.Target = id.String()
		if err := t.k.setCalled(rec, n.Description); err != nil {
			return err
		}
		return t.dir.AddToken(out)
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
	if _, err := v.dir.User(n.User); err != nil {
		if CodeOf(err) == CodeNotFound {
			return errorf(CodeInvalid, "unable to create token") // InfluxDB's words
		}
		return err
	}
	if _, err := v.dir.Organization(n.Org); err != nil {
		if CodeOf(err) == CodeNotFound {
			return errorf(CodeInvalid, "unable to create token")
		}
		return err
	}
	return nil
}

// TokenUpdate changes the fields that aren't nil.
type TokenUpdate struct {
	Active      *bool
	Description *string
	// Wrong is a protocol's validation error for the update. It is returned only
	// to callers who may change the token.
	Wrong error
}

func (u *TokenUpdate) onlyDeactivates() bool {
	return u.Active != nil && !*u.Active && u.Description == nil
}

// UpdateToken changes a token. Needs write on it and on its user.
func (k *Keep) UpdateToken(ctx context.Context, c Caller, id ID, u TokenUpdate) (Token, error) {
	var out Token
	rec := c.record("tokens.update", 0)
	rec.Target, rec.Detail = id.String(), activation(u.Active)
	if u.onlyDeactivates() {
		ctx = revoking(ctx, &c)
	}
	err := k.update(ctx, rec, func(t *tx) error {
		if _, err := t.ownToken(&c, acl.Read, id); err != nil {
			return err
		}
		token, err := t.ownToken(&c, acl.Write, id)
		if err != nil {
			return err
		}
		if u.Wrong != nil {
			return u.Wrong
		}
		rec.Organization = token.Org.String()
		token.Updated = t.Now
		if u.Active != nil {
			token.Active = *u.Active
		}
		if u.Description != nil {
			token.Description = *u.Description
		}
		if out, err = t.dir.Describe(token); err != nil {
			return err
		}
		return t.dir.UpdateToken(token)
	})
	return out, err
}

// DeleteToken removes a token and its login tokens. Needs write on it and on its
// user.
func (k *Keep) DeleteToken(ctx context.Context, c Caller, id ID) error {
	rec := c.record("tokens.delete", 0)
	rec.Target = id.String()
	return k.update(revoking(ctx, &c), rec, func(t *tx) error {
		token, err := t.ownToken(&c, acl.Write, id)
		if err != nil {
			return err
		}
		rec.Organization = token.Org.String()
		if err := t.k.setCalled(rec, token.Description); err != nil {
			return err
		}
		return t.dir.DeleteToken(id)
	})
}
