// Package keep is the gate to Fluxkeep's data: organizations, users, tokens,
// sessions and secrets.
//
// Every method takes the Caller first and does, in this order: authorize; act, in
// one store transaction together with the audit record; answer. Protocol packages
// have no store, no key and no log, so they can't skip a step.
//
// Other packages have the bytes on the wire (influxv2, vaultkv), the versions of
// secrets (secretmap), organizations, users and tokens (directory), sealed records
// (record), permissions (acl) and the audit log (audit). DESIGN.md describes the gate's rules.
package keep
