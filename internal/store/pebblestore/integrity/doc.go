// Package integrity finds damage to a store's files that Pebble would overlook
// or mistake for an older state. It knows how Pebble names its files and
// frames the records in its logs and manifests, and keeps a ledger: a small
// file that says what the folder must contain.
//
// It checks a folder before the store is opened and changes nothing in it. The
// blocks of tables have checksums, which Pebble verifies.
package integrity
