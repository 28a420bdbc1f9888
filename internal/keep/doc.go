// Package keep is the domain, and the gate to its data: organizations, users,
// tokens, sessions and secrets.
//
// Every method takes the Caller first and does, in this order: authorize; act, in
// one store transaction together with the audit record; answer. Protocol packages
// have no store, no key and no log, so they can't skip a step.
//
// The rules that depend on a caller, a setting or several kinds of data are here:
// who may do what, valid names and passwords, how long a session lasts, that an
// organization keeps an owner, what happens regularly, and how servers that share a
// store take over each other's audit records. The layers below store what they are
// told: the versions of secrets (secretmap), organizations, users, memberships,
// tokens and sessions (directory), sealed records (record) and the audit log
// (audit). Package acl compares permissions. The protocols (influxv2, vaultkv, web)
// have the bytes on the wire. DESIGN.md describes the gate's rules.
package keep
