package client

import (
	"context"
	"net/http"
	"time"
)

// Version describes a version of an organization's secrets.
type Version struct {
	Number    uint64    `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	UserID    string    `json:"userID,omitempty"`
	TokenID   string    `json:"tokenID,omitempty"`
	Protocol  string    `json:"protocol,omitempty"` // by which it was written
	// Added, Changed and Removed are the names that it changed, in byte order.
	Added   []string `json:"added,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Removed []string `json:"removed,omitempty"`
	// Count is how many names it has. A token limited to some names is not told.
	Count int `json:"count"`
	// DeletedAt is when the version was, or will be, hidden; zero: never.
	DeletedAt time.Time `json:"deletedAt,omitzero"`
	Destroyed bool      `json:"destroyed,omitempty"`
	// Pinned says that the version is kept because the one after it may have
	// dropped secrets by accident. See Dismiss.
	Pinned bool `json:"pinned,omitempty"`
	// RolledBackTo is the version whose content it brought back, 0 for none.
	RolledBackTo uint64 `json:"rolledBackTo,omitempty"`
	// MergedFrom is the version that its writer had read, 0 when it was the
	// current one.
	MergedFrom uint64 `json:"mergedFrom,omitempty"`
}

// History returns the versions that are kept, newest first.
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

// Rollback makes a new version with the content of an earlier one.
func (c *Client) Rollback(ctx context.Context, orgID string, version uint64) (Written, error) {
	var out Written
	err := c.send(ctx, call{method: http.MethodPost, in: versionBody{version}, out: &out, once: true}, "orgs", orgID, "secrets", "rollback")
	return out, err
}

// Dismiss lets a pinned version go.
func (c *Client) Dismiss(ctx context.Context, orgID string, version uint64) error {
	return c.send(ctx, call{method: http.MethodPost, in: versionBody{version}, once: true}, "orgs", orgID, "secrets", "dismiss")
}

// Written says what a write did.
type Written struct {
	Version uint64 `json:"version"` // the current version after it
	Changed bool   `json:"changed"` // whether it made a new one
	ETag    string `json:"-"`
}
