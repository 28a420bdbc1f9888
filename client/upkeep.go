package client

import (
	"context"
	"io"
	"net/http"
	"time"
)

// What follows needs an operator's token.

// Backup writes a backup of all that the server keeps to w. It is encrypted,
// and opens with the server's key-encryption key. After an error, what was
// written is no backup.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.send(ctx, call{method: http.MethodGet, to: w, header: http.Header{"Accept": {"application/octet-stream, application/json"}}}, "fluxkeep", "backup")
}

// DataKeys says which keys seal the data, and how far a rotation is.
type DataKeys struct {
	Keys []DataKey `json:"keys"` // oldest first
	// Rotating is true as long as records may need a key that is not primary.
	Rotating bool  `json:"rotating"`
	Done     int64 `json:"done"`  // records looked at in this pass
	Total    int64 `json:"total"` // records to look at, 0 while that is not known
	// Error says why sealing anew has stopped; the server goes on later.
	Error string `json:"error,omitempty"`
}

// DataKey describes a key, and holds nothing secret.
type DataKey struct {
	ID        string    `json:"id"`
	Primary   bool      `json:"primary"` // seals what is written now
	CreatedAt time.Time `json:"createdAt"`
}

// DataKeys returns the data keys.
func (c *Client) DataKeys(ctx context.Context) (DataKeys, error) {
	var out DataKeys
	err := c.get(ctx, &out, nil, "fluxkeep", "keys")
	return out, err
}

// RotateKeys makes the server use a new data key, and begin to seal anew what
// it keeps. DataKeys tells when that is done. It is ErrConflict while another
// rotation is under way.
func (c *Client) RotateKeys(ctx context.Context) (DataKeys, error) {
	var out DataKeys
	err := c.send(ctx, call{method: http.MethodPost, out: &out, once: true}, "fluxkeep", "keys", "rotate")
	return out, err
}

// Compact removes from the server's disk what it no longer keeps.
func (c *Client) Compact(ctx context.Context) error {
	return c.send(ctx, call{method: http.MethodPost}, "fluxkeep", "compact")
}
