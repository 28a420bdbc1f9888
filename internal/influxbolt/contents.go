package influxbolt

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// Contents holds the parts of a bolt file that Fluxkeep can import. It
// contains values and tokens in plain text, so it must not be printed or
// logged.
type Contents struct {
	// Instance is the InfluxDB's own ID, 0 if it can't be read.
	Instance      acl.ID
	Organizations []Organization
	Users         []User
	Members       []Member
	Tokens        []Token
	// Secrets maps organizations to names and values.
	Secrets map[acl.ID]map[string]string

	// Others counts InfluxDB's other objects, such as "2 dashboards".
	Others []string

	// Skipped explains what was left out or changed: one line each, with IDs
	// and names but never a value.
	Skipped []string
}

// Organization is an organization of InfluxDB.
type Organization struct {
	ID          acl.ID
	Name        string
	Description string
	Created     time.Time // zero in files from an early release
	Updated     time.Time
}

// User is a user of InfluxDB.
type User struct {
	ID     acl.ID
	Name   string
	Active bool
	// Owner means that the user owns the instance, having been created at
	// setup.
	Owner bool
	// Password is a bcrypt hash, or nil if the user has no password.
	Password []byte
}

// Member is a user's membership in an organization.
type Member struct {
	Organization acl.ID
	User         acl.ID
	Owner        bool // if false, a member, who can only read
}

// Token is an authorization of InfluxDB.
type Token struct {
	ID           acl.ID
	Organization acl.ID
	User         acl.ID
	Active       bool
	Description  string
	Permissions  acl.Set
	Created      time.Time
	Updated      time.Time
	// Either Value is the token or, if InfluxDB stores only the hash, Hash is
	// its hash in PHC format: $influxdb2-sha256$… or $influxdb2-sha512$….
	Value string
	Hash  string
}
