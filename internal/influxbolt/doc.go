// Package influxbolt reads the bolt file of InfluxDB 2.x (influxd.bolt):
// organizations, users with their password hashes, memberships, tokens (plain
// or hashed), and secrets.
//
// It opens the file read-only under bolt's own lock, and writes none of its
// contents to disk, since they include secrets in plain text. Package keep
// decides what to import.
//
// Pages of a bolt file have no checksums. The package refuses files with a
// damaged structure, and reports and skips records that cannot be right. A
// changed byte inside a text can go unnoticed, except in names and tokens,
// which are compared with InfluxDB's own indexes.
package influxbolt
