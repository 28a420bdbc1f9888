// Package directory stores organizations, users, memberships, tokens and
// sessions, and identifies the user behind a credential.
//
//	Directory  the directory of a store
//	Reader     reads it within one transaction
//	Writer     reads and changes it within one transaction
//	Identity   the user behind a token or a session, and its permissions
//
// An Identity turns roles and tokens into permissions; whether they suffice for an
// access is for keep to decide. Valid names and the audit log are up to keep too.
//
// record.go describes the records and how they fit together.
package directory
