package influxv2

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// InfluxDB's API calls a token an authorization.

type tokenAnswer struct {
	ID          keep.ID            `json:"id"`
	Token       string             `json:"token"` // in the answer to its creation only
	Status      status             `json:"status"`
	Description string             `json:"description"`
	OrgID       keep.ID            `json:"orgID"`
	Org         string             `json:"org"`
	UserID      keep.ID            `json:"userID"`
	User        string             `json:"user"`
	Permissions []permissionAnswer `json:"permissions"`
	Links       map[string]string  `json:"links"`
	CreatedAt   time.Time          `json:"createdAt"`
	UpdatedAt   time.Time          `json:"updatedAt"`
	// InfluxDB has neither.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	Names     []string  `json:"names,omitempty"`
}

type permissionAnswer struct {
	Action   acl.Action     `json:"action"`
	Resource resourceAnswer `json:"resource"`
}

type resourceAnswer struct {
	Type  acl.Type `json:"type"`
	ID    keep.ID  `json:"id,omitzero"`
	OrgID keep.ID  `json:"orgID,omitzero"`
	Name  string   `json:"name,omitempty"`
	Org   string   `json:"org,omitempty"`
}

type tokensAnswer struct {
	Links          map[string]string `json:"links"`
	Authorizations []tokenAnswer     `json:"authorizations"`
}

func tokenLinks(t *keep.Token) map[string]string {
	return map[string]string{
		"self": "/api/v2/authorizations/" + t.ID.String(),
		"user": "/api/v2/users/" + t.User.String(),
	}
}

func plainPermissions(set acl.Set) []permissionAnswer {
	out := make([]permissionAnswer, len(set))
	for i, p := range set {
		out[i] = permissionAnswer{p.Action, resourceAnswer{Type: p.Resource.Type, ID: p.Resource.ID, OrgID: p.Resource.OrgID}}
	}
	return out
}

func tokenAnswerOf(ctx context.Context, t *keep.Token, names *resourceNames) (tokenAnswer, error) {
	permissions, err := names.permissions(ctx, t)
	return tokenAnswer{
		ID: t.ID, Token: t.Value, Status: statusWord(t.Active), Description: t.Description,
		OrgID: t.Org, Org: t.OrgName, UserID: t.User, User: t.UserName, Permissions: permissions, Links: tokenLinks(t),
		CreatedAt: t.Created.UTC(), UpdatedAt: t.Updated.UTC(), ExpiresAt: t.Expires.UTC(), Names: t.Names,
	}, err
}

// resourceNames finds the names of organizations and users in permissions.
// Deleted ones, and those the caller may not read, have none.
type resourceNames struct {
	*call
	known map[acl.Resource]string
	// optional omits names that can't be read now.
	optional bool
}

func (c *call) resourceNames() *resourceNames {
	return &resourceNames{call: c, known: map[acl.Resource]string{}}
}

// permissions returns a token's permissions with the names of their resources.
func (n *resourceNames) permissions(ctx context.Context, t *keep.Token) ([]permissionAnswer, error) {
	n.known[acl.Resource{Type: acl.Orgs, ID: t.Org}] = t.OrgName
	n.known[acl.Resource{Type: acl.Users, ID: t.User}] = t.UserName
	out := plainPermissions(t.Permissions)
	for i := range out {
		r := &out[i].Resource
		var err error
		if r.ID != 0 && hasResourceName(r.Type) {
			if r.Name, err = n.find(ctx, acl.Resource{Type: r.Type, ID: r.ID}); err != nil {
				return nil, err
			}
			if r.Name == "" { // InfluxDB then omits the organization's too
				continue
			}
		}
		if r.OrgID != 0 {
			if r.Org, err = n.find(ctx, acl.Resource{Type: acl.Orgs, ID: r.OrgID}); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// hasResourceName reports whether InfluxDB looks up the name of a resource of this type.
// There are no buckets here, so theirs is never found.
func hasResourceName(t acl.Type) bool { return t == acl.Orgs || t == acl.Users || t == "buckets" }

func (n *resourceNames) find(ctx context.Context, r acl.Resource) (name string, err error) {
	if name, ok := n.known[r]; ok {
		return name, nil
	}
	if n.caller.Permissions().Allows(acl.Permission{Action: acl.Read, Resource: r}) {
		switch r.Type {
		case acl.Orgs:
			var o keep.Organization
			o, err = n.keep.Organization(ctx, n.caller, r.ID)
			name = o.Name
		case acl.Users:
			var u keep.User
			u, err = n.keep.User(ctx, n.caller, r.ID)
			name = u.Name
		}
	}
	if err != nil && keep.CodeOf(err) != keep.CodeNotFound && !n.optional {
		return "", err
	}
	n.known[r] = name
	return name, nil
}

func (c *call) respondToken(status int, t *keep.Token) error {
	names := c.resourceNames()
	// A change that succeeded must not be reported as failed.
	names.optional = c.r.Method != http.MethodGet && c.r.Method != http.MethodHead
	answer, err := tokenAnswerOf(c.ctx(), t, names)
	if err != nil {
		return err
	}
	return c.respond(status, answer)
}

func (c *call) tokenFilter() (f keep.TokenFilter, err error) {
	q, err := c.query()
	if err != nil {
		return f, err
	}
	for _, p := range []struct {
		name string
		id   *keep.ID
	}{{"userID", &f.User}, {"orgID", &f.Org}, {"id", &f.ID}} {
		if *p.id, err = optionalID(q, p.name, ""); err != nil {
			return f, err
		}
	}
	f.UserName, f.OrgName = q.Get("user"), q.Get("org")
	return f, nil
}

type usesBody struct {
	Uses []useBody `json:"uses"`
}

type useBody struct {
	TokenID  keep.ID       `json:"tokenID"`
	UsedAt   time.Time     `json:"usedAt"`
	Protocol keep.Protocol `json:"protocol"`
}

func (c *call) tokenUses() error {
	f, err := c.tokenFilter()
	if err != nil {
		return err
	}
	uses, err := c.keep.TokenUses(c.ctx(), c.caller, f)
	if err != nil {
		return err
	}
	out := usesBody{make([]useBody, len(uses))}
	for i, u := range uses {
		out.Uses[i] = useBody{u.Token, u.Time, u.Protocol}
	}
	return c.respondList(out)
}

func (c *call) listTokens() error {
	f, err := c.tokenFilter()
	if err != nil {
		return err
	}
	tokens, err := c.keep.Tokens(c.ctx(), c.caller, f)
	if err != nil {
		return err
	}
	out := tokensAnswer{map[string]string{"self": "/api/v2/authorizations"}, make([]tokenAnswer, len(tokens))}
	names := c.resourceNames()
	for i := range tokens {
		if out.Authorizations[i], err = tokenAnswerOf(c.ctx(), &tokens[i], names); err != nil {
			return err
		}
	}
	return c.respondList(out)
}

func (c *call) getToken() error {
	id, err := c.id("authID")
	if err != nil {
		return err
	}
	t, err := c.keep.Token(c.ctx(), c.caller, id)
	if err != nil {
		return err
	}
	return c.respondToken(http.StatusOK, &t)
}

type tokenBody struct {
	Status      status           `json:"status"`
	OrgID       keep.ID          `json:"orgID"`
	UserID      *keep.ID         `json:"userID"`
	Description string           `json:"description"`
	Permissions []permissionBody `json:"permissions"`
	// Not in InfluxDB.
	ExpiresAt *string  `json:"expiresAt"`
	Names     []string `json:"names"`

	readOnlyTokenFields
}

// readOnlyTokenFields are fields of InfluxDB's Authorization that clients may
// send back. They have no effect.
type readOnlyTokenFields struct {
	ID          any `json:"id"`
	Token       any `json:"token"`
	HashedToken any `json:"hashedToken"`
	Org         any `json:"org"`
	User        any `json:"user"`
	Links       any `json:"links"`
	CreatedAt   any `json:"createdAt"`
	UpdatedAt   any `json:"updatedAt"`
}

type permissionBody struct {
	Action   acl.Action   `json:"action"`
	Resource resourceBody `json:"resource"`
}

type resourceBody struct {
	Type  acl.Type `json:"type"`
	ID    *keep.ID `json:"id"`
	OrgID *keep.ID `json:"orgID"`
	// Read-only in InfluxDB.
	Name any `json:"name"`
	Org  any `json:"org"`
}

// onlyNamed reports whether the resource is selected only by a name, which
// has no effect and would leave a permission for every resource of its type.
func (r *resourceBody) onlyNamed() bool {
	if r.Org != nil && r.OrgID == nil {
		return true
	}
	switch r.Type {
	case acl.Secrets, acl.Orgs, acl.Users, acl.Authorizations:
		return r.Name != nil && r.ID == nil
	}
	return false // InfluxDB's clients name buckets, which don't exist here
}

// idOrZero returns an optional ID, 0 if it is missing.
func idOrZero(id *keep.ID) keep.ID {
	if id == nil {
		return 0
	}
	return *id
}

func (c *call) createToken() error {
	var body tokenBody
	if err := c.decodeKnown(&body, badTokenJSON); err != nil {
		return err
	}
	n, err := body.newToken()
	if err != nil {
		return err
	}
	t, err := c.keep.CreateToken(c.ctx(), c.caller, n)
	if err != nil {
		return err
	}
	return c.respondToken(http.StatusCreated, &t)
}

// newToken validates the body, in InfluxDB's order.
func (b *tokenBody) newToken() (keep.NewToken, error) {
	n := keep.NewToken{Org: b.OrgID, User: idOrZero(b.UserID), Active: b.Status != inactive, Description: b.Description, Names: b.Names}
	if len(b.Permissions) == 0 {
		return n, invalid("authorization must include permissions")
	}
	for _, p := range b.Permissions {
		if p.Resource.onlyNamed() {
			return n, invalid("a permission's resource is chosen by id and orgID: its name and org alone have no effect")
		}
		permission := acl.Permission{Action: p.Action, Resource: acl.Resource{Type: p.Resource.Type, ID: idOrZero(p.Resource.ID), OrgID: idOrZero(p.Resource.OrgID)}}
		switch err := permission.Valid(); {
		case errors.Is(err, acl.ErrType):
			return n, invalid("invalid resource type for permission: " + err.Error())
		case err != nil:
			return n, invalid("invalid action type for permission: " + err.Error())
		}
		n.Permissions = append(n.Permissions, permission)
	}
	if b.OrgID == 0 {
		return n, invalid("org id required: invalid ID")
	}
	if b.Status != "" {
		if err := b.Status.check(); err != nil {
			return n, err
		}
	}
	if b.ExpiresAt != nil {
		expires, err := time.Parse(time.RFC3339, *b.ExpiresAt)
		if err != nil {
			return n, invalid("expiresAt must be a time such as 2030-01-31T12:00:00Z")
		}
		if expires.IsZero() { // which would mean never
			return n, invalid("expiresAt must be in the future")
		}
		n.Expires = expires
	}
	return n, nil
}

type tokenUpdateBody struct {
	Status      *status `json:"status"`
	Description *string `json:"description"`

	// Sending these must fail, or a client that sends a whole Authorization
	// believes that it has changed them.
	ExpiresAt any `json:"expiresAt"`
	Names     any `json:"names"`

	OrgID       any `json:"orgID"`
	UserID      any `json:"userID"`
	Permissions any `json:"permissions"`
	readOnlyTokenFields
}

func (c *call) updateToken() error {
	id, err := c.id("authID")
	if err != nil {
		return err
	}
	var body tokenUpdateBody
	if err := c.decodeKnown(&body, badPlain); err != nil {
		return err
	}
	if body.ExpiresAt != nil || body.Names != nil {
		return invalid("a token's limits can't be changed: create another token")
	}
	if body.Status != nil && *body.Status == "" {
		body.Status = nil // no change, as in InfluxDB
	}
	u := keep.TokenUpdate{Active: body.Status.isActive(), Description: body.Description}
	if body.Status != nil && body.Status.check() != nil {
		u.Wrong = invalid("encodeAuthorization: unknown authorization status")
	}
	t, err := c.keep.UpdateToken(c.ctx(), c.caller, id, u)
	if err != nil {
		return err
	}
	return c.respondToken(http.StatusOK, &t)
}

func (c *call) deleteToken() error {
	id, err := c.id("authID")
	if err != nil {
		return err
	}
	if err := c.keep.DeleteToken(c.ctx(), c.caller, id); err != nil {
		return err
	}
	return c.noContent()
}
