package client

import (
	"context"
	"net/http"
)

// SetupRequest describes the first user and organization of a new server.
type SetupRequest struct {
	Username string `json:"username"`
	// Password may be empty; the user then cannot sign in.
	Password string `json:"password,omitempty"`
	Org      string `json:"org"`
	// Bucket is required by InfluxDB's protocol. Fluxkeep has no buckets and
	// ignores it.
	Bucket string `json:"bucket"`
	// Token is the operator token to create; if empty, the server chooses one.
	Token string `json:"token,omitempty"`
}

// SetupResult describes what setup created. Auth.Token is the operator token,
// which is shown only once.
type SetupResult struct {
	User User         `json:"user"`
	Org  Organization `json:"org"`
	Auth Token        `json:"auth"`
}

// SetupAllowed reports whether the server still has to be set up. It needs no
// token.
func (c *Client) SetupAllowed(ctx context.Context) (bool, error) {
	var out struct {
		Allowed bool `json:"allowed"`
	}
	err := c.get(ctx, &out, nil, "setup")
	return out.Allowed, err
}

// Setup creates the first user, the first organization and an operator token.
// It needs no token, and works only once.
func (c *Client) Setup(ctx context.Context, q SetupRequest) (SetupResult, error) {
	return send[SetupResult](ctx, c, call{method: http.MethodPost, in: q, once: true}, "setup")
}
