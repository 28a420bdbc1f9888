package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// VersionSettings say how an organization's versions are stored.
type VersionSettings struct {
	// MaxVersions is how many versions are stored, and how many changes of each
	// secret.
	MaxVersions int
	// CASRequired refuses writes without check-and-set.
	CASRequired bool
	// DeleteVersionAfter is when new versions are deleted; 0 means never.
	DeleteVersionAfter time.Duration
}

// VersionSettingsUpdate changes the settings that are not nil. A MaxVersions of 0 is
// the server's default.
type VersionSettingsUpdate struct {
	MaxVersions        *int
	CASRequired        *bool
	DeleteVersionAfter *time.Duration
}

// VersionSettings returns the settings of an organization's versions.
func (c *Client) VersionSettings(ctx context.Context, orgID string) (VersionSettings, error) {
	var out struct {
		MaxVersions        int    `json:"maxVersions"`
		CASRequired        bool   `json:"casRequired"`
		DeleteVersionAfter string `json:"deleteVersionAfter"`
	}
	if err := c.get(ctx, &out, nil, "orgs", orgID, "secrets", "settings"); err != nil {
		return VersionSettings{}, err
	}
	after, err := time.ParseDuration(out.DeleteVersionAfter)
	if err != nil {
		return VersionSettings{}, fmt.Errorf("request to %s: %w", c.URL(), errAnswer)
	}
	return VersionSettings{out.MaxVersions, out.CASRequired, after}, nil
}

// UpdateVersionSettings changes settings of an organization's versions.
func (c *Client) UpdateVersionSettings(ctx context.Context, orgID string, u VersionSettingsUpdate) error {
	in := struct {
		MaxVersions        *int    `json:"maxVersions,omitempty"`
		CASRequired        *bool   `json:"casRequired,omitempty"`
		DeleteVersionAfter *string `json:"deleteVersionAfter,omitempty"`
	}{u.MaxVersions, u.CASRequired, nil}
	if u.DeleteVersionAfter != nil {
		in.DeleteVersionAfter = new(u.DeleteVersionAfter.String())
	}
	return c.send(ctx, call{method: http.MethodPatch, in: in}, "orgs", orgID, "secrets", "settings")
}
