// Package directory stores organizations, users, memberships, tokens and
// sessions, and identifies the user behind a credential.
//
//	Directory  the directory of a store
//	Reader     reads it within one transaction
//	Writer     reads and changes it within one transaction
//	Identity   the user behind a token or a session, and its permissions
//
// An Identity turns roles and tokens into permissions; whether they suffice for an
// access is for keep to decide. So are valid names, when a session ends, and that
// an organization keeps an owner. The directory knows no audit log.
//
// record.go describes the records and how they fit together.
package directory
