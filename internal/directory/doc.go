// Package directory stores organizations, users, memberships, tokens and
// sessions, and identifies the user behind a credential.
//
//	Directory  the directory of a store
//	Reader     reads it within one transaction
//	Writer     reads and changes it within one transaction
//	Identity   the user behind a token or a session, and what it may do
//
// Permissions, valid names and the audit log are up to the code that uses this
// package.
//
// record.go describes the records and how they fit together.
package directory
