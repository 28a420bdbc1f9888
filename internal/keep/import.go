package keep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/audit"
)

// Import is what is taken over from another server, with its IDs.
type Import struct {
	Organizations []Organization
	Users         []ImportUser
	Members       []ImportMember
	Tokens        []ImportToken
	Secrets       map[ID]map[string]string // by organization
}

// ImportUser is a user with what no User shows.
type ImportUser struct {
	User
	Owner    bool   // owns the instance
	Password []byte // a bcrypt hash; nil: the user can't sign in
}

// ImportMember says what a user is in an organization.
type ImportMember struct {
	Org, User ID
	Role      Role
}

// ImportToken is a token with its Value or, where the other server keeps no
// more, the hash of it in the form that InfluxDB keeps: $influxdb2-sha256$… or
// $influxdb2-sha512$….
type ImportToken struct {
	Token
	Hash string
}

// ImportOutcome says what an import does with an object.
type ImportOutcome string

const (
	ImportNew       ImportOutcome = "new"
	ImportUnchanged ImportOutcome = "unchanged" // it is here already
	// What follows is left alone.
	ImportDifferent ImportOutcome = "different" // it is here with another content
	ImportConflict  ImportOutcome = "conflict"  // its name, or its token, is another's
	ImportRefused   ImportOutcome = "refused"   // it can't be kept, or what it belongs to is not here
)

// The kinds of object, in the order in which they are taken.
const (
	ImportOrganizationKind = "organization"
	ImportUserKind         = "user"
	ImportMemberKind       = "member"
	ImportTokenKind        = "token"
	ImportSecretKind       = "secret"
)

// ImportReport says what an import did, or would do. It has no values.
type ImportReport struct {
	Counts  map[string]ImportCounts // by kind
	Remarks []ImportRemark          // what was left alone, and what is odd
}

// ImportCounts counts the objects of a kind.
type ImportCounts map[ImportOutcome]int

// ImportRemark is about one object, or about all secrets of an organization.
type ImportRemark struct {
	Kind    string
	ID      ID // of a member: the user's; 0 for a secret
	Org     ID
	Name    string
	Outcome ImportOutcome
	Reason  string
}

// New returns how many objects were, or would be, made.
func (r ImportReport) New() int {
	n := 0
	for _, c := range r.Counts {
		n += c[ImportNew]
	}
	return n
}

// importBatch is how many objects are made in one transaction.
const importBatch = 256

// Import takes over what is not here yet, or without apply says what it would
// do. Nothing that is here is changed or removed. Needs an operator.
//
// Each object is made whole or not at all, and after those that it belongs
// to: organizations, users, memberships, tokens, and then the secrets, as one
// version for each organization. When it ends early, the same import again
// does the rest.
func (k *Keep) Import(ctx context.Context, c Caller, in Import, apply bool) (ImportReport, error) {
	i := &importer{
		k: k, c: &c, in: in, made: make(map[string]ID), tokens: make(map[hash]ID),
		report: ImportReport{Counts: make(map[string]ImportCounts)},
	}
	rec := c.record("import", 0)
	if !c.Operator() {
		return i.report, k.finish(rec, k.now(), ErrNotOperator)
	}
	if !apply {
		rec.Detail = "dry run"
		err := k.read(ctx, c, rec, i.dryRun)
		return i.report, err
	}
	// That it was begun is recorded even if there is nothing to do.
	if err := k.finish(rec, k.now(), nil); err != nil {
		return i.report, err
	}
	err := i.apply(ctx)
	return i.report, err
}

type importer struct {
	k      *Keep
	c      *Caller
	in     Import
	report ImportReport
	// What was made, or in a dry run would have been made by now.
	made   map[string]ID // by kind and ID, and by kind and name
	tokens map[hash]ID
}

// planned is what is to be done with an object.
type planned struct {
	ImportRemark
	write func(*tx) error // makes it, if it is new
	made  func()          // remembers it
}

func (p planned) left(o ImportOutcome, reason string, args ...any) (planned, error) {
	p.Outcome, p.Reason = o, fmt.Sprintf(reason, args...)
	return p, nil
}

// compared is the outcome for an object that is here, from what differs.
func (p planned) compared(differs []string) (planned, error) {
	if len(differs) > 0 {
		return p.left(ImportDifferent, "is here with another %s", strings.Join(differs, " and "))
	}
	return p.left(ImportUnchanged, "")
}

func (p planned) taken(write func(*tx) error, made func()) (planned, error) {
	p.Outcome, p.write, p.made = ImportNew, write, made
	return p, nil
}

func (p planned) record(c *Caller) *audit.Record {
	rec := c.record("import", p.Org)
	rec.Target, rec.Detail = p.ID.String(), p.Kind
	if p.Kind == ImportMemberKind {
		rec.Detail = p.Name // the role
	}
	return rec
}

type planFunc func(*view) (planned, error)

// directory lists what is to be done for all but secrets, kind by kind.
func (i *importer) directory() [][]planFunc {
	return [][]planFunc{
		plans(i.in.Organizations, i.planOrg),
		plans(i.in.Users, i.planUser),
		plans(i.in.Members, i.planMember),
		plans(i.in.Tokens, i.planToken),
	}
}

func plans[T any](list []T, plan func(*view, T) (planned, error)) []planFunc {
	out := make([]planFunc, len(list))
	for n, object := range list {
		out[n] = func(v *view) (planned, error) { return plan(v, object) }
	}
	return out
}

func (i *importer) note(p planned) {
	i.count(p.Kind, p.Outcome, 1)
	if p.Reason != "" {
		i.report.Remarks = append(i.report.Remarks, p.ImportRemark)
	}
	if p.made != nil {
		p.made()
	}
}

func (i *importer) count(kind string, o ImportOutcome, n int) {
	if i.report.Counts[kind] == nil {
		i.report.Counts[kind] = make(ImportCounts)
	}
	if n > 0 {
		i.report.Counts[kind][o] += n
	}
}

func (i *importer) dryRun(v *view) error {
	for _, kind := range i.directory() {
		for _, plan := range kind {
			p, err := plan(v)
			if err != nil {
				return err
			}
			i.note(p)
		}
	}
	for _, org := range slices.Sorted(maps.Keys(i.in.Secrets)) {
		p, err := i.planSecrets(v, org)
		if err != nil {
			return err
		}
		i.noteSecrets(p)
	}
	return nil
}

func (i *importer) apply(ctx context.Context) error {
	for _, kind := range i.directory() {
		for batch := range slices.Chunk(kind, importBatch) {
			if err := i.applyBatch(ctx, batch); err != nil {
				return err
			}
		}
	}
	for _, org := range slices.Sorted(maps.Keys(i.in.Secrets)) {
		if err := i.applySecrets(ctx, org); err != nil {
			return err
		}
	}
	return nil
}

// applyBatch plans in the transaction that writes, so that what was found out
// still holds.
func (i *importer) applyBatch(ctx context.Context, batch []planFunc) error {
	var done []planned
	err := i.k.updateEach(ctx, i.c, func(t *tx) ([]*audit.Record, error) {
		done = done[:0]
		var records []*audit.Record
		for _, plan := range batch {
			p, err := plan(&t.view)
			if err != nil {
				return nil, err
			}
			if p.Outcome == ImportNew {
				if err := p.write(t); err != nil {
					return nil, err
				}
				records = append(records, p.record(i.c))
			}
			done = append(done, p)
		}
		return records, nil
	})
	if err != nil {
		return err
	}
	for _, p := range done {
		i.note(p)
	}
	return nil
}

// updateEach is update for a change of several objects, each with an audit
// record of its own. Without records it writes nothing.
func (k *Keep) updateEach(ctx context.Context, c *Caller, fn func(*tx) ([]*audit.Record, error)) error {
	if err := k.audible(c, "import", 0); err != nil {
		return err
	}
	t := &tx{view: view{ctx: ctx, k: k}}
	var ids []audit.ID
	var lines [][]byte
	doubtful, err := k.transact(ctx, t, func(t *tx) error {
		ids, lines = ids[:0], lines[:0]
		records, err := fn(t)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return errUnchanged
		}
		for _, rec := range records {
			rec.ID, rec.Time, rec.Outcome = k.ids.Next(), t.now, audit.Allowed
			k.hideNames(rec)
			line := rec.Append(nil)
			if err := t.putOutbox(rec.ID, line); err != nil {
				return err
			}
			ids, lines = append(ids, rec.ID), append(lines, line)
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if doubtful {
		for n, id := range ids {
			k.inDoubt(missedRecord{id, lines[n]})
		}
	}
	if err != nil {
		return k.finish(c.record("import", 0), k.now(), domain(err))
	}
	for n, id := range ids {
		k.deliver(id, lines[n])
	}
	return nil
}
