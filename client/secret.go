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

// SetSecrets sets secrets and leaves all others unchanged, using the call that
// InfluxDB also has. Use WriteValues for more than 8 MiB, or to set and delete
// secrets at once.
func (c *Client) SetSecrets(ctx context.Context, orgID string, secrets map[string]string) error {
	return c.send(ctx, call{method: http.MethodPatch, in: secrets}, "orgs", orgID, "secrets")
}

// DeleteSecret deletes one secret. It is not an error if there is none.
func (c *Client) DeleteSecret(ctx context.Context, orgID, name string) error {
	if name == "." || name == ".." {
		// In a path, a proxy would take these for directories.
		return c.DeleteSecrets(ctx, orgID, name)
	}
	return c.send(ctx, call{method: http.MethodDelete}, "orgs", orgID, "secrets", name)
}

// DeleteSecrets deletes secrets in one version. Missing names are not an
// error.
func (c *Client) DeleteSecrets(ctx context.Context, orgID string, names ...string) error {
	in := struct {
		Secrets []string `json:"secrets"`
	}{append([]string{}, names...)}
	return c.send(ctx, call{method: http.MethodPost, in: in}, "orgs", orgID, "secrets", "delete")
}
