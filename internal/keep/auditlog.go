package keep

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"golang.org/x/sync/semaphore"
)

// AuditQuery selects records of the audit log. Zero fields select all.
type AuditQuery struct {
	Organization     ID
	OrganizationName string
	User             ID
	UserName         string
	Token            ID
	Secret           string // a secret's name
	Action           string // also a prefix that ends with a star, as in "secrets.*"
	Outcome          string
	Protocol         string
	Since            time.Time
	Until            time.Time // exclusive
	// Before and After are positions: numbers of lines, both exclusive. With After,
	// reads of the log are left out, because whoever follows it makes them.
	Before, After uint64
	Limit         int // 0: no limit
}

// AuditRecord is a record with the names of its objects, "" if they are unknown.
// Called is the name of the record's Target too, if that is a user or a token.
type AuditRecord struct {
	audit.Entry
	OrganizationName string
	UserName         string
	TokenName        string // its description
}

// AuditPage is a part of the audit log.
type AuditPage struct {
	Records []AuditRecord // newest first
	// Next is the Before of the next page, 0 after the last page. A page with
	// few records or none isn't necessarily the last.
	Next uint64
	// Last is the position of the log's last line: the After of a query for what
	// follows.
	Last uint64
	// Checkpoint is the last line up to which the store vouches for the log, and
	// Damage lists what is wrong with the lines that were read. Both are for
	// operators.
	Checkpoint string
	Damage     []string
}

// errAuditStream says that the log's lines are elsewhere.
var errAuditStream = errorf(CodeUnprocessable, "the audit log is written to a stream, and can't be read here")

const auditRead = "audit.read"

// AuditLog returns records of the audit log, newest first. An operator reads all,
// and an organization's owner those of the organization. To others the log, and to
// owners the other organizations, look missing.
func (k *Keep) AuditLog(ctx context.Context, c Caller, q AuditQuery) (AuditPage, error) {
	rec := c.record(auditRead, q.Organization)
	if q.Secret != "" {
		rec.Names = []string{q.Secret}
	}
	if q.User != 0 {
		rec.Target = q.User.String()
	}
	var a *auditReader
	var found audit.Page
	err := k.readUnaudited(ctx, func(v *view) (err error) {
		a, err = v.auditReader(&c, q)
		return err
	})
	if err == nil {
		found, err = a.find(ctx)
	}
	if err != nil {
		return AuditPage{}, k.recordOutcome(rec, k.now(), domain(err))
	}
	if len(a.query.Organizations) == 1 {
		rec.Organization = a.query.Organizations[0]
	}
	out := AuditPage{Next: found.Next, Last: found.Last}
	if c.Operator() {
		out.Damage = found.Damage
		if at := k.vouchedAudit(); at.Seq > 0 {
			out.Checkpoint = at.String()
		}
	}
	err = k.read(ctx, rec, func(v *view) (err error) {
		a.view = v
		out.Records, err = a.records(found)
		return err
	})
	if err != nil {
		return AuditPage{}, err
	}
	return out, nil
}

// AuditLogOffline is AuditLog for an operator, for a log at path and the store of a
// stopped server. It leaves no record.
func AuditLogOffline(ctx context.Context, s store.Store, keys *seal.Keys, shared *SharedKeys, path string, q AuditQuery) (AuditPage, error) {
	k := &Keep{records: offlineRecords(s, keys, shared)}
	k.directory = directory.New(k.records)
	k.directory.OnDamage(func(error) {}) // it has no name then
	c := Offline()
	var out AuditPage
	err := k.readUnaudited(ctx, func(v *view) error {
		a, err := v.auditReader(&c, q)
		if err != nil {
			return err
		}
		found, err := audit.Find(ctx, path, a.query)
		if err != nil {
			return err
		}
		out = AuditPage{Next: found.Next, Last: found.Last, Damage: found.Damage}
		out.Records, err = a.records(found)
		return err
	})
	return out, err
}

// WaitAudit returns when a record after q.After matches, or when ctx ends. It isn't
// recorded as an access: the caller reads afterwards.
func (k *Keep) WaitAudit(ctx context.Context, c Caller, q AuditQuery) error {
	const period = time.Second
	var a *auditReader
	err := k.readUnaudited(ctx, func(v *view) (err error) {
		a, err = v.auditReader(&c, q)
		return err
	})
	for err == nil {
		if k.log.Head().Seq > a.query.After {
			var found audit.Page
			if found, err = a.find(ctx); err != nil || len(found.Entries) > 0 || found.Next != 0 {
				break
			}
			a.query.After = max(a.query.After, found.Last)
		}
		if k.sleep(ctx, period) != nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return k.recordOutcome(c.record(auditRead, q.Organization), k.now(), domain(err))
	}
	return nil
}

// auditSearches limits how many searches of the audit log run at a time, because
// each may hold many of its lines and open all of its files. Operators don't wait
// for owners.
type auditSearches struct{ operators, owners *semaphore.Weighted }

const maxAuditSearches = 2

func newAuditSearches() auditSearches {
	return auditSearches{semaphore.NewWeighted(maxAuditSearches), semaphore.NewWeighted(maxAuditSearches)}
}

// find returns the lines of the log that match the query.
func (a *auditReader) find(ctx context.Context) (audit.Page, error) {
	running := a.k.auditSearches.operators
	if a.owned != nil {
		running = a.k.auditSearches.owners
	}
	if err := running.Acquire(ctx, 1); err != nil {
		return audit.Page{}, err
	}
	defer running.Release(1)
	page, err := a.k.log.Find(ctx, a.query)
	if errors.Is(err, audit.ErrStream) {
		err = errAuditStream
	}
	return page, err
}

// vouchedAudit returns the checkpoint in the store.
func (k *Keep) vouchedAudit() audit.Checkpoint {
	k.outbox.flush.Lock()
	defer k.outbox.flush.Unlock()
	return k.outbox.stored
}

// auditReader is a caller's view of the audit log.
type auditReader struct {
	*view
	c     *Caller
	owned []ID // an owner's organizations; nil for an operator
	query audit.Query
	names map[auditObject]string
}

// auditObject is an object that a record names by its ID.
type auditObject struct{ kind, id string }

const (
	auditOrganization = "organizations"
	auditUser         = "users"
	auditToken        = "tokens"
)

// auditReader authorizes a query and finds the objects that it names.
func (v *view) auditReader(c *Caller, q AuditQuery) (*auditReader, error) {
	a := &auditReader{view: v, c: c, names: map[auditObject]string{}}
	if !c.Operator() {
		if c.inactive {
			return nil, ErrTokenInactive
		}
		if a.owned = c.owned(); len(a.owned) == 0 {
			return nil, ErrNotOperator
		}
	}
	org, err := a.organization(&q)
	if err != nil {
		return nil, err
	}
	user, err := a.user(&q)
	if err != nil {
		return nil, err
	}
	a.query = audit.Query{
		Action: q.Action, Outcome: q.Outcome, Protocol: q.Protocol, Since: q.Since, Until: q.Until,
		Before: q.Before, After: q.After, Limit: q.Limit,
	}
	if q.After != 0 {
		a.query.Ignore = auditRead
	}
	if user != 0 {
		a.query.User = user.String()
	}
	if q.Token != 0 {
		a.query.Token = q.Token.String()
	}
	if q.Secret != "" {
		// Each in the form that redact gives it.
		hash := v.k.auditHash(q.Secret)
		a.query.Secret = []string{q.Secret, shortened(q.Secret, refusedText), hash}
	}
	organizations := a.owned
	if org != 0 {
		organizations = []ID{org}
	}
	for _, id := range organizations {
		a.query.Organizations = append(a.query.Organizations, id.String())
	}
	return a, nil
}

// organization returns the organization that a query is about, 0 if it is about all
// that the caller reads.
func (a *auditReader) organization(q *AuditQuery) (ID, error) {
	if q.Organization == 0 && q.OrganizationName != "" {
		org, err := a.dir.FindOrganization(q.OrganizationName)
		if err == nil && (org == 0 || !a.reads(org)) {
			err = unknownOrgName(q.OrganizationName)
		}
		return org, err
	}
	if q.Organization != 0 && !a.reads(q.Organization) {
		return 0, ErrOrganizationNotFound
	}
	return q.Organization, nil
}

// user returns the user that a query is about, 0 if it is about all.
func (a *auditReader) user(q *AuditQuery) (ID, error) {
	if q.User != 0 || q.UserName == "" {
		return q.User, nil
	}
	user, err := a.dir.UserNamed(q.UserName)
	if err != nil {
		return 0, err
	}
	visible := false
	if user != 0 {
		if visible, err = a.seesUser(user); err != nil {
			return 0, err
		}
	}
	if !visible {
		return 0, ErrUserNotFound
	}
	return user, nil
}

// owned returns the organizations that the caller owns.
func (c *Caller) owned() []ID {
	var out []ID
	checked := map[ID]bool{}
	for _, p := range c.Permissions() {
		if id := p.Resource.OrgID; id != 0 && !checked[id] {
			checked[id] = true
			if c.owns(id) {
				out = append(out, id)
			}
		}
	}
	return out
}

// owns reports whether the caller has all permissions of an organization's owner.
func (c *Caller) owns(org ID) bool { return !c.Limited() && c.Permissions().AllowsAll(acl.Owner(org)) }

// reads reports whether the caller reads the records of an organization.
func (a *auditReader) reads(org ID) bool { return a.owned == nil || slices.Contains(a.owned, org) }

// seesUser reports whether the caller may know a user's name: everybody sees the
// members of their own organizations.
func (a *auditReader) seesUser(user ID) (bool, error) {
	if a.c.mayUser(acl.Read, user) == nil {
		return true, nil
	}
	for _, org := range a.owned {
		role, err := a.dir.Role(org, user)
		if err = a.dir.SkipDamaged(err); err != nil || role != "" {
			return err == nil, err
		}
	}
	return false, nil
}

// records returns a page's records with their names.
func (a *auditReader) records(found audit.Page) ([]AuditRecord, error) {
	out := make([]AuditRecord, 0, len(found.Entries))
	for _, e := range found.Entries {
		r := AuditRecord{Entry: e}
		if err := a.addNames(&r, found.Called); err != nil {
			return nil, err
		}
		texts := 0
		for _, list := range [][]string{r.Names, r.Removed} {
			for _, name := range list {
				texts += len(name)
			}
		}
		if err := a.reserveItem(texts); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// addNames adds the names of a record's objects. called has the names of deleted
// objects, by their IDs.
func (a *auditReader) addNames(r *AuditRecord, called map[string]string) error {
	r.Called = a.k.openCalled(r.Object(), r.Called)
	kind, _, _ := strings.Cut(r.Action, ".")
	if kind == "members" {
		kind = auditUser
	}
	for _, o := range []struct {
		auditObject
		to *string
	}{
		{auditObject{auditOrganization, r.Organization}, &r.OrganizationName},
		{auditObject{auditUser, r.User}, &r.UserName},
		{auditObject{auditToken, r.Token}, &r.TokenName},
		{auditObject{kind, r.Target}, &r.Called},
	} {
		if *o.to != "" || o.id == "" {
			continue
		}
		name, known := a.names[o.auditObject]
		if !known {
			var err error
			if name, err = a.name(o.auditObject); err != nil {
				return err
			}
			a.names[o.auditObject] = name
		}
		if name == "" && a.owned == nil {
			name = a.k.openCalled(o.id, called[o.id])
		}
		*o.to = name
	}
	return nil
}

// The log has the names of objects that were created or deleted, so that records
// of a deleted one can be understood. Unlike the names of secrets, they are sealed,
// and are lost when the data key that sealed them is removed after a rotation.

// setCalled sets the name of a record's object.
func (k *Keep) setCalled(rec *audit.Record, name string) error {
	const most = 256 // bytes; a description has no limit
	sealed, err := k.records.Keys().Seal([]byte(shortened(name, most)), calledPlace(rec.Object()))
	rec.Called = base64.StdEncoding.EncodeToString(sealed)
	return err
}

// openCalled returns the name that setCalled sealed, "" if there is none.
func (k *Keep) openCalled(id, called string) string {
	if called == "" {
		return ""
	}
	sealed, err := base64.StdEncoding.DecodeString(called)
	if err != nil {
		return ""
	}
	name, err := k.records.Keys().Open(sealed, calledPlace(id))
	if err != nil {
		return ""
	}
	return string(name)
}

func calledPlace(id string) []byte { return []byte("audit-name\x00" + id) }

// name returns the name of an object, "" if it is unknown to the caller.
func (a *auditReader) name(o auditObject) (name string, err error) {
	id, err := acl.ParseID(o.id)
	if err != nil {
		return "", nil
	}
	switch o.kind {
	case auditOrganization:
		var org Organization
		org, err = a.dir.Organization(id)
		name = org.Name
	case auditUser:
		visible, verr := a.seesUser(id)
		if verr != nil || !visible {
			return "", verr
		}
		var user User
		user, err = a.dir.User(id)
		name = user.Name
	case auditToken:
		var token Token
		if token, err = a.dir.Token(id); err == nil && a.reads(token.Org) {
			name = token.Description
		}
	}
	if CodeOf(err) == CodeNotFound {
		err = nil
	}
	return name, a.dir.SkipDamaged(err)
}
