package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// tokenRow describes a token.
type tokenRow struct {
	keep.Token
	May      []string // its permissions in words
	Soon     bool     // it expires within a week
	Over     bool     // it has expired
	Used     time.Time
	Protocol keep.Protocol
}

// Label is the token's description or, if it has none, its ID.
func (t tokenRow) Label() string {
	if t.Description != "" {
		return t.Description
	}
	return t.ID.String()
}

const expiresSoon = 7 * 24 * time.Hour

func (c *call) tokenRow(t keep.Token, use keep.TokenUse) tokenRow {
	now := c.config.Now()
	over := t.Expired(now)
	return tokenRow{
		Token: t, May: permissionWords(t.Permissions, t.Org), Used: use.Time, Protocol: use.Protocol,
		Over: over, Soon: !over && !t.Expires.IsZero() && t.Expires.Sub(now) < expiresSoon,
	}
}

// permissionWords says what permissions allow to do with secrets, and how many others
// there are.
func permissionWords(set acl.Set, org keep.ID) []string {
	covers := func(a acl.Action, org keep.ID) bool {
		return set.Allows(acl.Permission{Action: a, Resource: acl.Resource{Type: acl.Secrets, OrgID: org}})
	}
	switch {
	case set.AllowsAll(acl.Operator()):
		return []string{"everything, in all organizations"}
	case set.AllowsAll(acl.Owner(org)):
		return []string{"everything in the organization"}
	}
	var words []string
	for _, a := range acl.Actions() {
		switch {
		case covers(a, 0):
			words = append(words, string(a)+" the secrets of all organizations")
		case covers(a, org):
			words = append(words, string(a)+" secrets")
		}
	}
	others := 0
	for _, p := range set {
		read := p.Action == acl.Read && p.Resource.Type == acl.Orgs // every token needs it
		if p.Resource.Type != acl.Secrets && !read {
			others++
		}
	}
	if others > 0 {
		words = append(words, plural(others, "other permission"))
	}
	if len(words) == 0 {
		words = append(words, "nothing")
	}
	return words
}

type accessView struct {
	frame
	Tokens []tokenRow
	Change bool // the caller may create, deactivate and delete tokens
}

func (*accessView) page() string { return "access" }

// mayTokens reports whether the caller may read or change tokens of the organization.
func (c *call) mayTokens(a acl.Action) bool {
	return c.may(a, acl.Resource{Type: acl.Authorizations, OrgID: c.org})
}

func (c *call) accessPage() error {
	if !c.mayTokens(acl.Read) {
		return c.refuse("tokens.list")
	}
	tokens, uses, err := c.keep.UsedTokens(c.ctx(), c.caller, keep.TokenFilter{Org: c.org})
	if err != nil {
		return err
	}
	used := make(map[keep.ID]keep.TokenUse, len(uses))
	for _, u := range uses {
		used[u.Token] = u
	}
	v := &accessView{Change: c.mayTokens(acl.Write)}
	for _, t := range tokens {
		v.Tokens = append(v.Tokens, c.tokenRow(t, used[t.ID]))
	}
	slices.SortStableFunc(v.Tokens, func(a, b tokenRow) int {
		return strings.Compare(strings.ToLower(a.Label()), strings.ToLower(b.Label()))
	})
	v.Done = c.done(map[string]string{"deleted": "The token was deleted."})
	return c.show(http.StatusOK, v)
}

type tokenView struct {
	frame
	Token  tokenRow
	Change bool
	Delete bool // the page asks whether to delete the token
}

func (*tokenView) page() string { return "token" }

// token returns the view of the token in the path.
func (c *call) token() (*tokenView, error) {
	id, err := acl.ParseID(c.r.PathValue("token"))
	if err != nil {
		return nil, errMissing
	}
	t, use, err := c.keep.UsedToken(c.ctx(), c.caller, id)
	if err != nil {
		return nil, err
	}
	if t.Org != c.org {
		return nil, errMissing
	}
	return &tokenView{Token: c.tokenRow(t, use), Change: c.mayTokens(acl.Write)}, nil
}

func (c *call) tokenPage() error {
	v, err := c.token()
	if err != nil {
		return err
	}
	v.Done = c.done(map[string]string{
		"created":  "The token was created.",
		"inactive": "The token is inactive. Programs that use it are refused.",
		"active":   "The token is active.",
	})
	return c.show(http.StatusOK, v)
}

func (c *call) setTokenStatus() error {
	v, err := c.token()
	if err != nil {
		return err
	}
	active, err := c.form.active()
	if err != nil {
		return err
	}
	if _, err := c.keep.UpdateToken(c.ctx(), c.caller, v.Token.ID, keep.TokenUpdate{Active: &active}); err != nil {
		return c.showError(v, "", "", err)
	}
	return c.redirect(c.orgPath("/access/" + v.Token.ID.String() + "?done=" + c.form.get("status")))
}

func (c *call) deleteTokenPage() error {
	v, err := c.token()
	if err != nil {
		return err
	}
	if !v.Change {
		return c.refuse("tokens.delete")
	}
	v.Delete = true
	return c.show(http.StatusOK, v)
}

func (c *call) deleteToken() error {
	v, err := c.token()
	if err != nil {
		return err
	}
	if err := c.keep.DeleteToken(c.ctx(), c.caller, v.Token.ID); err != nil {
		return c.showError(v, "", "", err)
	}
	return c.redirect(c.orgPath("/access?done=deleted"))
}
