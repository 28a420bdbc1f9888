// Package secretmap keeps the secrets of each organization as one versioned
// map from name to value.
//
//	Maps    all maps of a store, with their caches
//	Map     what one transaction sees of one map: names, documents, history
//	Writer  changes a map: Apply, Rollback, DeleteVersions, Sweep…
//
// Each change makes one version, with its time, author and changed names, and
// the last ones are kept. Whoever calls decides what a caller may do and what
// goes into the audit log: this package knows nothing of either, and of a
// caller no more than Author and the names that are visible to it.
//
// version.go describes the records and how they fit together; prune.go says
// what becomes of those that no version needs.
package secretmap
