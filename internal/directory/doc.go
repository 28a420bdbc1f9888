// Package directory keeps organizations, users, memberships, tokens and
// sessions, and finds who is behind a credential.
//
//	Directory  the directory of a store
//	Reader     reads it within one transaction
//	Writer     reads and changes it within one transaction
//	Identity   the user behind a token or a session, and what it may do
//
// The caller decides who may do what, which names are valid, and what goes into
// the audit log. This package knows nothing about any of that.
//
// record.go describes the records and how they fit together.
package directory
