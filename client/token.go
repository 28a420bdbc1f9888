package client

import (
	"context"
	"net/http"
	"time"
)

// Token is an API token, called an authorization in InfluxDB.
type Token struct {
	ID string `json:"id"`
	// Token is the token itself. Only CreateToken returns it: the server
	// stores a keyed hash.
	Token       string       `json:"token"`
	Status      Status       `json:"status"`
	Description string       `json:"description"`
	OrgID       string       `json:"orgID"`
	Org         string       `json:"org,omitempty"`
	UserID      string       `json:"userID"`
	User        string       `json:"user,omitempty"`
	Permissions []Permission `json:"permissions"`
	CreatedAt   time.Time    `json:"createdAt,omitzero"`
	UpdatedAt   time.Time    `json:"updatedAt,omitzero"`
	// ExpiresAt is zero for a token that never expires.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Names are patterns of the secrets that the token may access, in which *
	// matches any text. An empty list means all.
	Names []string `json:"names,omitempty"`
}

// Action is an action that a permission allows.
type Action string

// The actions.
const (
	Read  Action = "read"
	Write Action = "write"
)

// Permission allows an action on a resource.
type Permission struct {
	Action   Action   `json:"action"`
	Resource Resource `json:"resource"`
}

// Resource is the subject of a permission: all resources of a type or, with an
// ID or an OrgID, one resource or those of one organization.
type Resource struct {
	Type  string `json:"type"`
	ID    string `json:"id,omitempty"`
	OrgID string `json:"orgID,omitempty"`
}

// SecretPermissions returns the permissions that a token needs for the given
// actions on an organization's secrets, including reading the organization.
func SecretPermissions(orgID string, actions ...Action) []Permission {
	out := []Permission{{Read, Resource{Type: "orgs", ID: orgID}}}
	for _, a := range actions {
		out = append(out, Permission{a, Resource{Type: "secrets", OrgID: orgID}})
	}
	return out
}

// ResourceTypes returns the resource types that permissions can name.
func (c *Client) ResourceTypes(ctx context.Context) ([]string, error) {
	return get[[]string](ctx, c, nil, "resources")
}

// TokenFilter selects tokens; empty fields match all.
type TokenFilter struct {
	OrgID  string
	UserID string
}

// Tokens returns the tokens that match the filter and that the caller may
// read, without the tokens themselves.
func (c *Client) Tokens(ctx context.Context, f TokenFilter) ([]Token, error) {
	var out struct {
		Tokens []Token `json:"authorizations"`
	}
	err := c.get(ctx, &out, values("orgID", f.OrgID, "userID", f.UserID), "authorizations")
	return out.Tokens, err
}

// Token returns one token by its ID, without the token itself.
func (c *Client) Token(ctx context.Context, id string) (Token, error) {
	return get[Token](ctx, c, nil, "authorizations", id)
}

// TokenUse is the last use of a token.
type TokenUse struct {
	TokenID  string    `json:"tokenID"`
	UsedAt   time.Time `json:"usedAt"` // up to a minute before the last use
	Protocol string    `json:"protocol"`
}

// TokenUses returns the last use of each token that matches the filter, that the caller
// may read, and that was used.
func (c *Client) TokenUses(ctx context.Context, f TokenFilter) ([]TokenUse, error) {
	var out struct {
		Uses []TokenUse `json:"uses"`
	}
	err := c.get(ctx, &out, values("orgID", f.OrgID, "userID", f.UserID), "authorizations", "uses")
	return out.Uses, err
}

// NewToken describes a token to create.
type NewToken struct {
	OrgID       string       `json:"orgID"`            // required
	UserID      string       `json:"userID,omitempty"` // the caller's by default
	Description string       `json:"description,omitempty"`
	Permissions []Permission `json:"permissions"` // required
	Status      Status       `json:"status,omitempty"`
	ExpiresAt   time.Time    `json:"expiresAt,omitzero"`
	// Names are patterns of the secrets that the token may access; nil means
	// all. The server refuses an empty list.
	Names []string `json:"names,omitzero"`
}

// CreateToken creates a token. Only its answer contains the token itself.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (Token, error) {
	return send[Token](ctx, c, call{method: http.MethodPost, in: n, once: true}, "authorizations")
}

// TokenUpdate changes the fields that are not nil.
type TokenUpdate struct {
	Status      *Status `json:"status,omitempty"`
	Description *string `json:"description,omitempty"`
}

// UpdateToken changes a token's description, or activates or deactivates it.
func (c *Client) UpdateToken(ctx context.Context, id string, u TokenUpdate) (Token, error) {
	return send[Token](ctx, c, call{method: http.MethodPatch, in: u}, "authorizations", id)
}

// DeleteToken deletes a token permanently.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.send(ctx, call{method: http.MethodDelete, once: true}, "authorizations", id)
}
