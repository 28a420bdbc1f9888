package client

import (
	"context"
	"net/http"
	"time"
)

// Token is an API token, which InfluxDB calls an authorization.
type Token struct {
	ID string `json:"id"`
	// Token is the token itself. It is in the answer to its creation, and
	// never again: the server keeps a keyed hash.
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
	// ExpiresAt is zero for a token that lives until it is deleted.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Names are patterns of the secrets that the token is for, in which *
	// stands for any text; none means all.
	Names []string `json:"names,omitempty"`
}

// Action is what a permission allows.
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

// Resource is what a permission is about: all of a type or, with an ID or an
// OrgID, one or those of one organization.
type Resource struct {
	Type  string `json:"type"`
	ID    string `json:"id,omitempty"`
	OrgID string `json:"orgID,omitempty"`
}

// SecretPermissions returns what a token needs to do the actions with an
// organization's secrets: that, and to read the organization itself.
func SecretPermissions(orgID string, actions ...Action) []Permission {
	out := []Permission{{Read, Resource{Type: "orgs", ID: orgID}}}
	for _, a := range actions {
		out = append(out, Permission{a, Resource{Type: "secrets", OrgID: orgID}})
	}
	return out
}

// ResourceTypes returns the types of resource that permissions can be about.
func (c *Client) ResourceTypes(ctx context.Context) ([]string, error) {
	var out []string
	err := c.get(ctx, &out, nil, "resources")
	return out, err
}

// TokenFilter chooses tokens; what is empty does not choose.
type TokenFilter struct {
	OrgID  string
	UserID string
}

// Tokens returns the tokens that the filter chooses and the caller may read,
// without the tokens themselves.
func (c *Client) Tokens(ctx context.Context, f TokenFilter) ([]Token, error) {
	var out struct {
		Tokens []Token `json:"authorizations"`
	}
	err := c.get(ctx, &out, values("orgID", f.OrgID, "userID", f.UserID), "authorizations")
	return out.Tokens, err
}

// Token returns one token by its ID, without the token itself.
func (c *Client) Token(ctx context.Context, id string) (Token, error) {
	var out Token
	err := c.get(ctx, &out, nil, "authorizations", id)
	return out, err
}

// NewToken describes a token to be made.
type NewToken struct {
	OrgID       string       `json:"orgID"`            // required
	UserID      string       `json:"userID,omitempty"` // the caller's by default
	Description string       `json:"description,omitempty"`
	Permissions []Permission `json:"permissions"` // required
	Status      Status       `json:"status,omitempty"`
	ExpiresAt   time.Time    `json:"expiresAt,omitzero"`
	// Names are patterns of the secrets that the token is for; nil means all,
	// and the server refuses an empty list.
	Names []string `json:"names,omitzero"`
}

// CreateToken makes a token. The answer is the one place where it can be read.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (Token, error) {
	var out Token
	err := c.send(ctx, call{method: http.MethodPost, in: n, out: &out, once: true}, "authorizations")
	return out, err
}

// TokenUpdate changes what is not nil.
type TokenUpdate struct {
	Status      *Status `json:"status,omitempty"`
	Description *string `json:"description,omitempty"`
}

// UpdateToken describes a token, or makes it active or inactive.
func (c *Client) UpdateToken(ctx context.Context, id string, u TokenUpdate) (Token, error) {
	var out Token
	err := c.send(ctx, call{method: http.MethodPatch, in: u, out: &out}, "authorizations", id)
	return out, err
}

// DeleteToken removes a token for good.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.send(ctx, call{method: http.MethodDelete, once: true}, "authorizations", id)
}
