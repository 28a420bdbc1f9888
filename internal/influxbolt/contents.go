package influxbolt

import (
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// Contents is what a bolt file holds of what Fluxkeep has too. It has values
// and tokens in plain, so it must not be printed or logged.
type Contents struct {
	Organizations []Organization
	Users         []User
	Members       []Member
	Tokens        []Token
	// Secrets are names and values by organization.
	Secrets map[acl.ID]map[string]string

	// Others counts what else InfluxDB keeps there, such as "2 dashboards".
	Others []string

	// Skipped says what was not taken, or not as it is, and why: one line
	// each, with IDs and names and never a value.
	Skipped []string
}

// Organization is InfluxDB's.
type Organization struct {
	ID          acl.ID
	Name        string
	Description string
	Created     time.Time // zero in files that an early release wrote
	Updated     time.Time
}

// User is InfluxDB's.
type User struct {
	ID     acl.ID
	Name   string
	Active bool
	// Owner says that the user owns the instance: the one made at setup.
	Owner bool
	// Password is a bcrypt hash, nil when the user has no password.
	Password []byte
}

// Member says that a user belongs to an organization.
type Member struct {
	Organization acl.ID
	User         acl.ID
	Owner        bool // else a member, who reads
}

// Token is InfluxDB's authorization.
type Token struct {
	ID           acl.ID
	Organization acl.ID
	User         acl.ID
	Active       bool
	Description  string
	Permissions  acl.Set
	Created      time.Time
	Updated      time.Time
	// Either the token itself, or, where InfluxDB keeps only that, its hash
	// in PHC form: $influxdb2-sha256$… or $influxdb2-sha512$….
	Value string
	Hash  string
}
