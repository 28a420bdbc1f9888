// Package vaultkv implements Vault's protocol: KV version 2 at secret/, and
// those parts of sys/ and auth/ that clients of such a mount use. An
// organization is one document, whose data are its secrets.
//
// The engine is mounted twice: at /v1/ with Vault's exact behavior, and at
// /influxd/v1/ with the differences that influxd needs (mount.go).
//
// This package contains only the protocol: routes, the shape of requests and
// responses, and which of the domain's rules a request uses. The rules
// themselves are in keep and the packages below it.
package vaultkv
