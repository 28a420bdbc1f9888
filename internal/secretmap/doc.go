// Package secretmap stores each organization's secrets as a versioned map from
// name to value.
//
//	Maps    all maps of a store, with their caches
//	Map     one map as one transaction sees it: names, documents, history
//	Writer  changes a map: Apply, Rollback, DeleteVersions, Sweep…
//
// Every change creates one version with its time, author and changed names. Limits,
// check-and-set, merging, the drop guard, pinned versions and the removal of old
// ones are here. The package knows no permissions and no audit log. All it knows of
// a caller is the Author and which names are visible.
//
// DESIGN.md describes the records and lists the files by question.
package secretmap
