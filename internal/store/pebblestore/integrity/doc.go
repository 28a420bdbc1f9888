// Package integrity finds damage to the files of a store that Pebble, its
// engine, would overlook or take for an older state. It knows how Pebble names
// its files and frames the records in its logs and manifests, and keeps a small
// file of its own that says what must be in the folder.
//
// It checks a folder before it is opened and changes nothing in it. The blocks
// of tables have checksums of their own, which Pebble checks.
package integrity
