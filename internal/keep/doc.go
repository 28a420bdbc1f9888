// Package keep is Fluxkeep's domain: organizations, users, tokens, sessions,
// and the secrets of each organization as one versioned map from name to
// value.
//
// It is also the one door to them. Every method takes the Caller first and
// does, in this order: authorize; act, in one store transaction together with
// the audit record; answer. Protocol packages have no store, no key and no
// log, so they can't skip a step.
//
// What does not live here: bytes on the wire (influxv2, vaultkv), what a
// permission covers (acl), how bytes are sealed (seal), stored (store) or
// logged (audit). DESIGN.md describes the records and the rules between them.
package keep
