package keep

import (
	"context"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// ID names an organization, a user or a token.
type ID = acl.ID

// Protocol is the way by which a request came.
type Protocol = secretmap.Protocol

const (
	InfluxDB Protocol = "influxdb"
	Vault    Protocol = "vault"
	Influxd  Protocol = "influxd" // the address for an influxd: Vault's protocol, merging
	offline  Protocol = "offline" // a command on a data folder, see Offline
)

// Origin says where a request came from. It is for the audit log and the
// limits, and decides nothing about permissions.
type Origin struct {
	Protocol Protocol
	Remote   string // the client's address, without port
	Network  string // what counts as one client in limits; "" for Remote
	Request  string // the request's ID
	Trace    string // the trace ID, when the client sent one
}

func (o *Origin) network() string {
	if o.Network == "" {
		return o.Remote
	}
	return o.Network
}

// Caller is who asks: a token or a session of a user, or nobody yet. Callers
// come from Authenticate and Anonymous; the zero Caller may do nothing.
type Caller struct {
	Origin Origin
	// User and Token are zero when there is none.
	User  ID
	Token ID
	// Parent is the token that Token, a login token, stands for; else zero.
	Parent ID

	session     [16]byte // the session's lookup key, for signing out
	hasSession  bool
	inactive    bool // the token is switched off: known, but allowed nothing
	permissions acl.Set
	names       []string  // name patterns, for a token limited to some names
	expires     time.Time // zero: never
	renewable   bool
	// The IDs as text, for the audit log.
	userText, tokenText, loginText string
}

// actor is the token that is named as the author of what the caller writes:
// login tokens come and go.
func (c *Caller) actor() ID {
	if c.Parent != 0 {
		return c.Parent
	}
	return c.Token
}

// Account returns on whose behalf the caller uses the server: the user and the
// token, that of a login token's maker. Both are zero for nobody, and for a
// token that is switched off.
func (c *Caller) Account() (user, token ID) {
	if c.inactive {
		return 0, 0
	}
	return c.User, c.actor()
}

// Active reports whether the caller's token isn't switched off.
func (c *Caller) Active() bool { return !c.inactive }

// Writes reports whether the caller may write anything at all.
func (c *Caller) Writes() bool {
	return slices.ContainsFunc(c.Permissions(), func(p acl.Permission) bool { return p.Action == acl.Write })
}

// CheckActive refuses a caller whose token is switched off.
func (k *Keep) CheckActive(c Caller) error {
	if !c.inactive {
		return nil
	}
	return k.recordOutcome(c.record("authenticate", 0), k.now(), ErrTokenInactive)
}

// Anonymous is a caller who has not said who it is: it may set up a new
// server, and sign in.
func Anonymous(o Origin) Caller { return Caller{Origin: o} }

// Offline is the caller of a command that works on a data folder which no
// server has open. Who can run it has the data and the key that opens it, so
// that there is nothing left to refuse. It must never stand for a request.
func Offline() Caller {
	return Caller{Origin: Origin{Protocol: offline}, permissions: acl.Everything()}
}

// authorize returns nil when the caller has permission p.
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

// mayReadAll reports whether the caller may read every resource of a type. One
// who may not is never told whether a name is taken.
func (c *Caller) mayReadAll(t acl.Type) bool { return c.may(acl.Read, acl.Resource{Type: t}) == nil }

// Operator reports whether the caller may do everything that the token made
// at setup may.
func (c *Caller) Operator() bool {
	return !c.inactive && !c.Limited() && c.permissions.AllowsAll(acl.Operator())
}

// AllowOperator records that the caller asks for something of the server's
// that is kept elsewhere, such as its configuration, and returns
// ErrNotOperator to everybody but an operator.
func (k *Keep) AllowOperator(ctx context.Context, c Caller, action string) error {
	var err error
	if !c.Operator() {
		err = ErrNotOperator
	}
	return k.recordOutcome(c.record(action, 0), k.now(), err)
}

// Permissions returns what the caller may do.
func (c *Caller) Permissions() acl.Set {
	if c.inactive {
		return nil
	}
	return c.permissions
}

// Expires returns when the caller's token ends; zero means never.
func (c *Caller) Expires() time.Time { return c.expires }

// Renewable reports whether the caller's token can be given more time.
func (c *Caller) Renewable() bool { return c.renewable }

// record starts the audit record of something this caller asks for.
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
