package keep

import (
	"context"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// ID identifies an organization, a user or a token.
type ID = acl.ID

// Protocol is the protocol of a request.
type Protocol = secretmap.Protocol

const (
	InfluxDB Protocol = "influxdb"
	Vault    Protocol = "vault"
	Influxd  Protocol = "influxd" // the influxd address: Vault's protocol with merging
	Web      Protocol = "web"     // the web page
	CLI      Protocol = "cli"     // InfluxDB's, spoken by Fluxkeep's own command line
	offline  Protocol = "offline" // a command on a data folder, see Offline
)

// Origin says where a request came from. It is for the audit log and rate limits,
// and never affects permissions.
type Origin struct {
	Protocol Protocol
	Remote   string // the client's address, without port
	Network  string // the network that counts as one client in limits; "" for Remote
	Request  string // the request's ID
	Trace    string // the trace ID, if the client sent one
}

func (o *Origin) network() string {
	if o.Network == "" {
		return o.Remote
	}
	return o.Network
}

// Caller is the token or session that makes a request, or an anonymous client.
// Use Authenticate or Anonymous to get one; the zero Caller has no permissions.
type Caller struct {
	Origin Origin
	// User and Token are zero if there is none.
	User  ID
	Token ID
	// Parent is the token that Token represents if that is a login token, else
	// zero.
	Parent ID
	// OrganizationFirst makes an organization that the caller may not read look
	// missing, even to a caller who may read its secrets, as in InfluxDB.
	OrganizationFirst bool

	// ByID means that a request on Vault's protocol names the organization by its ID.
	ByID bool

	session     [16]byte // the session's lookup key, for signing out
	hasSession  bool     // signed in as a user, not with a token
	inactive    bool     // the token is inactive: known, but without permissions
	permissions acl.Set
	names       []string  // name patterns, for a token limited to some names
	expires     time.Time // zero: never
	renewable   bool
	// The IDs as text, for the audit log.
	userText, tokenText, loginText string
}

// actor returns the token that is recorded as the author of the caller's writes.
// For a login token, which is short-lived, that is its parent.
func (c *Caller) actor() ID {
	if c.Parent != 0 {
		return c.Parent
	}
	return c.Token
}

// Account returns the user and the token to which the caller's use of the server
// is attributed; for a login token, that is its parent. Both are zero for
// anonymous callers and inactive tokens.
func (c *Caller) Account() (user, token ID) {
	if c.inactive {
		return 0, 0
	}
	return c.User, c.actor()
}

// Active reports whether the caller's token is active.
func (c *Caller) Active() bool { return !c.inactive }

// Writes reports whether the caller has any write permission.
func (c *Caller) Writes() bool {
	return slices.ContainsFunc(c.Permissions(), func(p acl.Permission) bool { return p.Action == acl.Write })
}

// CheckActive refuses a caller whose token is inactive.
func (k *Keep) CheckActive(c Caller) error {
	if !c.inactive {
		return nil
	}
	return k.recordOutcome(c.record("authenticate", 0), k.now(), ErrTokenInactive)
}

// Anonymous returns a caller without a credential, who can only set up a new
// server and sign in.
func Anonymous(o Origin) Caller { return Caller{Origin: o} }

// Offline returns the caller of a command on a data folder that no server has
// open. Anyone who can run it has both the data and its key, so there is nothing
// to refuse. Never use it for a request.
func Offline() Caller {
	return Caller{Origin: Origin{Protocol: offline}, permissions: acl.Everything()}
}

// authorize returns nil if the caller has permission p.
func (c *Caller) authorize(p acl.Permission) error {
	if c.inactive {
		return ErrTokenInactive
	}
	if !c.permissions.Allows(p) {
		return errorf(CodeUnauthorized, "%s is unauthorized", p)
	}
	return nil
}

func (c *Caller) may(a acl.Action, r acl.Resource) error {
	return c.authorize(acl.Permission{Action: a, Resource: r})
}

func (c *Caller) mayOrg(a acl.Action, org ID) error {
	return c.may(a, acl.Resource{Type: acl.Orgs, ID: org})
}

func (c *Caller) maySecrets(a acl.Action, org ID) error {
	return c.may(a, acl.Resource{Type: acl.Secrets, OrgID: org})
}

func (c *Caller) mayUser(a acl.Action, user ID) error {
	return c.may(a, acl.Resource{Type: acl.Users, ID: user})
}

// mayReadAll reports whether the caller may read every resource of a type. Other
// callers can't find out whether a name is taken.
func (c *Caller) mayReadAll(t acl.Type) bool { return c.may(acl.Read, acl.Resource{Type: t}) == nil }

// Operator reports whether the caller has all permissions of the token created at
// setup.
func (c *Caller) Operator() bool {
	return !c.inactive && !c.Limited() && c.permissions.AllowsAll(acl.Operator())
}

// AllowOperator records a request for server data that isn't in the store, such
// as its configuration. It returns ErrNotOperator unless the caller is an
// operator.
func (k *Keep) AllowOperator(ctx context.Context, c Caller, action string) error {
	var err error
	if !c.Operator() {
		err = ErrNotOperator
	}
	return k.recordOutcome(c.record(action, 0), k.now(), err)
}

// Refuse records that a caller's permissions don't allow an action, and returns the
// refusal. It is for protocols that know so before they call the action itself.
func (k *Keep) Refuse(ctx context.Context, c Caller, action string, org ID) error {
	return k.recordOutcome(c.record(action, org), k.now(), errorf(CodeUnauthorized, "%s is unauthorized", action))
}

// Permissions returns the caller's permissions.
func (c *Caller) Permissions() acl.Set {
	if c.inactive {
		return nil
	}
	return c.permissions
}

// Expires returns when the caller's token expires; zero means never.
func (c *Caller) Expires() time.Time { return c.expires }

// Renewable reports whether the caller's token can be renewed.
func (c *Caller) Renewable() bool { return c.renewable }

// record starts the audit record of an action of this caller.
func (c *Caller) record(action string, org ID) *audit.Record {
	r := &audit.Record{
		Action:   action,
		Protocol: string(c.Origin.Protocol),
		Remote:   c.Origin.Remote,
		Request:  c.Origin.Request,
		Trace:    c.Origin.Trace,
	}
	if org != 0 {
		r.Organization = org.String()
	}
	r.User, r.Token, r.Session = c.userText, c.tokenText, c.loginText
	r.Stranger = c.inactive || c.User == 0
	return r
}
