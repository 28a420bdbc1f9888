package client

import (
	"context"
	"net/http"
)

// SecretNames returns the names of an organization's secrets, in byte order.
func (c *Client) SecretNames(ctx context.Context, orgID string) ([]string, error) {
	var out struct {
		Secrets []string `json:"secrets"`
	}
	err := c.get(ctx, &out, nil, "orgs", orgID, "secrets")
	return out.Secrets, err
}

// SetSecrets sets secrets and leaves all others as they are, with the call
// that InfluxDB has too. For more than 8 MiB, and to set and remove at once,
// there is WriteValues.
func (c *Client) SetSecrets(ctx context.Context, orgID string, secrets map[string]string) error {
	return c.send(ctx, call{method: http.MethodPatch, in: secrets}, "orgs", orgID, "secrets")
}

// DeleteSecret removes one secret. It is no error when there was none.
func (c *Client) DeleteSecret(ctx context.Context, orgID, name string) error {
	if name == "." || name == ".." {
		// In a path these are steps, to whoever stands on the way.
		return c.DeleteSecrets(ctx, orgID, name)
	}
	return c.send(ctx, call{method: http.MethodDelete}, "orgs", orgID, "secrets", name)
}

// DeleteSecrets removes secrets in one version. A name that is not there is no
// error.
func (c *Client) DeleteSecrets(ctx context.Context, orgID string, names ...string) error {
	in := struct {
		Secrets []string `json:"secrets"`
	}{append([]string{}, names...)}
	return c.send(ctx, call{method: http.MethodPost, in: in}, "orgs", orgID, "secrets", "delete")
}
