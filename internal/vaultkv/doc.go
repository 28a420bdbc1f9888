// Package vaultkv speaks Vault's protocol: KV version 2 at secret/, and of
// sys/ and auth/ what the clients of such a mount ask for besides. An
// organization is one document there, whose data are its secrets.
//
// The same engine is mounted twice: strictly at /v1/, and at /influxd/v1/ with
// the differences that an influxd needs, see mount.
//
// Here is only what is particular to the protocol: routes, the shape of
// requests and answers, and which of the domain's rules a request asks for.
// The rules themselves (permissions, versions, check-and-set, merging, the drop
// guard) are in keep.
package vaultkv
