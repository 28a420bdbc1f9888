package client

import (
	"context"
	"net/http"
)

// SetupRequest is what a new server is set up with.
type SetupRequest struct {
	Username string `json:"username"`
	// Password may be empty: the user then can't sign in.
	Password string `json:"password,omitempty"`
	Org      string `json:"org"`
	// Bucket is asked for by InfluxDB's protocol. Fluxkeep has no buckets and
	// keeps nothing of it.
	Bucket string `json:"bucket"`
	// Token is the operator token to make; empty lets the server choose.
	Token string `json:"token,omitempty"`
}

// SetupResult is what a new server has after its setup. Auth.Token is the
// operator token, which is shown this once.
type SetupResult struct {
	User User         `json:"user"`
	Org  Organization `json:"org"`
	Auth Token        `json:"auth"`
}

// SetupAllowed reports whether the server is not set up yet. It needs no
// token.
func (c *Client) SetupAllowed(ctx context.Context) (bool, error) {
	var out struct {
		Allowed bool `json:"allowed"`
	}
	err := c.get(ctx, &out, nil, "setup")
	return out.Allowed, err
}

// Setup makes the first user, the first organization and an operator token.
// It needs no token, and works once.
func (c *Client) Setup(ctx context.Context, q SetupRequest) (SetupResult, error) {
	var out SetupResult
	err := c.send(ctx, call{method: http.MethodPost, in: q, out: &out, once: true}, "setup")
	return out, err
}
