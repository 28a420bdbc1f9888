package client

import (
	"context"
	"net/http"
	"time"
)

// Self describes the caller's token or session.
type Self struct {
	UserID string `json:"userID"`
	User   string `json:"user,omitempty"` // its name, if the caller may read it
	// TokenID, Description and OrgID belong to the token; a session has none.
	TokenID     string       `json:"tokenID,omitempty"`
	Description string       `json:"description,omitempty"`
	OrgID       string       `json:"orgID,omitempty"`
	Org         string       `json:"org,omitempty"` // its name, if the caller may read it
	Operator    bool         `json:"operator"`
	Permissions []Permission `json:"permissions"`
	// Names are patterns of the secrets that the token may access. An empty
	// list means all.
	Names []string `json:"names,omitempty"`
	// ExpiresAt is zero for a token that never expires.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

// Self returns what the server knows about the caller.
func (c *Client) Self(ctx context.Context) (Self, error) {
	return get[Self](ctx, c, nil, "fluxkeep", "self")
}

// RevokeSelf deletes the caller's own token, for which it needs no permission.
func (c *Client) RevokeSelf(ctx context.Context) error {
	return c.send(ctx, call{method: http.MethodDelete, once: true}, "fluxkeep", "self")
}

// Health describes a server's condition.
type Health struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // pass or fail
	Message string `json:"message"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

// Health returns the server's condition. It needs no token. A server that can't
// work at the moment still describes itself.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var out Health
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/health", out: &out, accept: http.StatusServiceUnavailable, once: true})
	return out, err
}
