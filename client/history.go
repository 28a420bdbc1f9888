package client

import (
	"context"
	"net/http"
	"time"
)

// Version describes one version of an organization's secrets.
type Version struct {
	Number    uint64    `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	UserID    string    `json:"userID,omitempty"`
	TokenID   string    `json:"tokenID,omitempty"`
	Protocol  string    `json:"protocol,omitempty"` // the protocol of the write
	// Added, Changed and Removed are the names that the version changed, in
	// byte order.
	Added   []string `json:"added,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Removed []string `json:"removed,omitempty"`
	// Count is the number of names. It is not set for a token limited to some
	// names.
	Count int `json:"count"`
	// DeletedAt is when the version was or will be deleted; zero means never.
	DeletedAt time.Time `json:"deletedAt,omitzero"`
	Destroyed bool      `json:"destroyed,omitempty"`
	// Pinned means that the version is retained because the next one may have
	// removed secrets by accident. See Unpin.
	Pinned bool `json:"pinned,omitempty"`
	// RolledBackTo is the version whose content was restored, 0 for none.
	RolledBackTo uint64 `json:"rolledBackTo,omitempty"`
	// MergedFrom is the version that the writer had read, 0 if it was the
	// current one.
	MergedFrom uint64 `json:"mergedFrom,omitempty"`
}

// History returns the stored versions, newest first.
func (c *Client) History(ctx context.Context, orgID string) ([]Version, error) {
	var out struct {
		Versions []Version `json:"versions"`
	}
	err := c.get(ctx, &out, nil, "orgs", orgID, "secrets", "history")
	return out.Versions, err
}

type versionBody struct {
	Version uint64 `json:"version"`
}

// Rollback creates a new version with the content of an earlier one.
func (c *Client) Rollback(ctx context.Context, orgID string, version uint64) (WriteResult, error) {
	return send[WriteResult](ctx, c, call{method: http.MethodPost, in: versionBody{version}, once: true}, "orgs", orgID, "secrets", "rollback")
}

// Unpin lets the server prune a pinned version again.
func (c *Client) Unpin(ctx context.Context, orgID string, version uint64) error {
	return c.send(ctx, call{method: http.MethodPost, in: versionBody{version}, once: true}, "orgs", orgID, "secrets", "dismiss")
}

// WriteResult is the result of a write.
type WriteResult struct {
	Version uint64 `json:"version"` // the current version after the write
	Changed bool   `json:"changed"` // whether the write created it
	ETag    string `json:"-"`
}
