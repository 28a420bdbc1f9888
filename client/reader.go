package client

import (
	"context"
	"net/url"
	"time"
)

// SecretReaders has the tokens and users that read a secret, the last one first.
type SecretReaders struct {
	Name    string         `json:"name"`
	Readers []SecretReader `json:"readers"`
}

// SecretReader is the last read of a secret by a token or by a user's sessions.
type SecretReader struct {
	// TokenID is empty for a session. TokenID and UserID are empty if the caller may
	// not see who it was.
	TokenID     string    `json:"tokenID,omitempty"`
	Description string    `json:"description,omitempty"` // the token's
	UserID      string    `json:"userID,omitempty"`
	User        string    `json:"user,omitempty"`
	ReadAt      time.Time `json:"readAt"`
	Protocol    string    `json:"protocol"`
	// Version is the version that was read, 0 if the caller may not know.
	Version uint64 `json:"version,omitempty"`
	// Outdated reports whether the secret has changed since that version.
	Outdated bool `json:"outdated,omitempty"`
}

// Readers returns the readers of the secrets with these names; it leaves out missing
// names. A read of all secrets counts for each of them. Without names, Readers
// returns the last reader of each secret that was read.
func (c *Client) Readers(ctx context.Context, orgID string, names ...string) ([]SecretReaders, error) {
	var out struct {
		Secrets []SecretReaders `json:"secrets"`
	}
	err := c.get(ctx, &out, url.Values{"name": names}, "orgs", orgID, "secrets", "readers")
	return out.Secrets, err
}
