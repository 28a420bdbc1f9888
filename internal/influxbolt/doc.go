// Package influxbolt reads the bolt file of an InfluxDB 2.x (influxd.bolt):
// organizations, users with their password hashes, memberships, tokens, plain
// or hashed, and secrets.
//
// It only reads: the file is opened read-only under bolt's own lock, and
// nothing of it is copied to the disk, since it holds secrets in plain. What
// becomes of its contents is package keep's business.
//
// A bolt file has no checksums on its pages. Damage to its structure is found
// and refused, and a record that can't be right is named and left out, but a
// byte that changed inside a text can go unnoticed; of names and tokens it is
// found by comparing them with InfluxDB's own indexes.
package influxbolt
