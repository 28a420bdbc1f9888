// Package client talks to a Fluxkeep server: it keeps and reads secrets,
// watches them for changes, and manages organizations, users and tokens.
//
// A Client is made once and used by many goroutines:
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
// A program that embeds Flux gives it a [SecretService], and scripts then
// read with secrets.get what the server keeps:
//
//	deps.Deps.SecretService = c.SecretService(org.ID, nil)
//
// # Errors
//
// What the server refuses is an [*Error] with the HTTP status, the code of
// InfluxDB's API description and a message. The codes are errors themselves:
//
//	if errors.Is(err, client.ErrNotFound) { … }
//
// Every other error says that the server could not be asked. No error holds a
// token, a password or a value. A request that may be sent twice is sent again
// when the server asks for patience (429, 503), a few times at most.
//
// # What is elsewhere
//
// The calls named after InfluxDB's own (setup, organizations, users, tokens,
// names of secrets) work against an InfluxDB server too. Reading values,
// history and rollback are Fluxkeep's. Where the server is and which token to
// use is for the caller to say: this package reads no environment and no file.
package client
