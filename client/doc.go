// Package client talks to a Fluxkeep server: it reads and writes secrets,
// watches them for changes, and manages organizations, users and tokens.
//
// A Client is safe for concurrent use; create one and share it:
//
//	c, err := client.New(client.Config{URL: "http://localhost:8086", Token: os.Getenv("INFLUX_TOKEN")})
//	if err != nil {
//		return err
//	}
//	org, err := c.OrganizationByName(ctx, "acme")
//	if err != nil {
//		return err
//	}
//	values, _, err := c.Values(ctx, org.ID, &client.ValuesQuery{Names: []string{"db_password"}})
//
// # Flux
//
// A program that embeds Flux can pass it a [SecretService]. Scripts then read
// secrets from the server with secrets.get:
//
//	deps.Deps.SecretService = c.SecretService(org.ID, nil)
//
// # Errors
//
// When the server refuses a request, the error is an [*Error] with the HTTP
// status, a code from InfluxDB's API description, and a message. The codes are
// themselves errors:
//
//	if errors.Is(err, client.ErrNotFound) { … }
//
// Any other error means that the server could not be reached or its answer
// could not be read. No error contains a token, a password or a value. If the
// server is busy (429, 503), requests that are safe to repeat are retried a
// few times, unless it took long to refuse.
//
// # Compatibility
//
// The calls that InfluxDB also has (setup, organizations, users, tokens,
// secret names) work against an InfluxDB server too. Reading values, history
// and rollback exist only in Fluxkeep. This package reads no environment
// variables and no files: the caller passes the address and the token.
package client
