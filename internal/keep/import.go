package keep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Import is the data to import from another server, with its IDs.
type Import struct {
	Organizations []Organization
	Users         []ImportUser
	Members       []ImportMember
	Tokens        []ImportToken
	Secrets       map[ID]map[string]string // by organization

	// Named are organizations with their secrets, by name.
	Named   map[string]ImportNamed
	earlier map[ID][]map[string]string // of Named

	// Source is the source server's ID. Without it, earlier imports are unknown.
	Source ID
	// Kinds are the kinds of objects to import, all if empty.
	Kinds []string
	// Partial says that the source may have more objects of these kinds, so a
	// missing one doesn't count as deleted.
	Partial bool
	// Update applies changes made at the source since the last import.
	Update bool
	// RestoreDeleted imports objects again that were imported before and deleted
	// here.
	RestoreDeleted bool
}

func (in *Import) includes(kind string) bool {
	return len(in.Kinds) == 0 || slices.Contains(in.Kinds, kind)
}

// ImportUser is a user with the fields that are never shown.
type ImportUser = directory.Account

// ImportMember is a user's role in an organization.
type ImportMember struct {
	Org, User ID
	Role      Role
}

// ImportToken is a token with its Value or, if the source stores only a hash, that
// hash in InfluxDB's form: $influxdb2-sha256$… or $influxdb2-sha512$….
type ImportToken struct {
	Token
	Hash string
}

// ImportOutcome is what an import does with an object.
type ImportOutcome string

const (
	ImportNew       ImportOutcome = "new"
	ImportUnchanged ImportOutcome = "unchanged" // it exists here already
	ImportUpdated   ImportOutcome = "updated"   // it was changed at the source since the last import
	ImportRemoved   ImportOutcome = "removed"   // it was deleted at the source since the last import; a user is deactivated
	// An import makes no change in the following cases.
	ImportDifferent ImportOutcome = "different" // it exists here with other content
	ImportConflict  ImportOutcome = "conflict"  // its name, or its token, is already in use
	ImportRefused   ImportOutcome = "refused"   // it can't be stored, or the object it belongs to is missing
	ImportChanged   ImportOutcome = "changed"   // without Update: it was changed at the source since the last import
	ImportGone      ImportOutcome = "gone"      // without Update: it was deleted at the source since the last import
	ImportDeleted   ImportOutcome = "deleted"   // it was deleted here since the last import
)

// The kinds of objects, in the order of their import.
const (
	ImportOrganizationKind = "organization"
	ImportUserKind         = "user"
	ImportMemberKind       = "member"
	ImportTokenKind        = "token"
	ImportSecretKind       = "secret"
)

// ImportReport says what an import did or would do. It contains no values.
type ImportReport struct {
	Counts  map[string]ImportCounts // by kind
	Remarks []ImportRemark          // about each object, in the order of their import
}

// ImportCounts counts the objects of a kind.
type ImportCounts map[ImportOutcome]int

// ImportRemark is about one object, or several secrets of an organization with the
// same outcome.
type ImportRemark struct {
	Kind    string
	ID      ID // the user's for a member; 0 for a secret
	Org     ID
	Name    string // the role for a member; "" for several secrets
	Secrets int    // how many, 0 for other kinds
	Outcome ImportOutcome
	Reason  string // why nothing was done, or what is unusual; else ""
}

// Applied returns how many objects were, or would be, created, updated or
// removed.
func (r ImportReport) Applied() int {
	n := 0
	for _, c := range r.Counts {
		n += c[ImportNew] + c[ImportUpdated] + c[ImportRemoved]
	}
	return n
}

// Import creates objects that don't exist here yet. It changes or removes existing
// objects only to follow the source, and only if in.Update is set. Needs an
// operator.
//
// It is one transaction that includes the audit record of each object, so it is
// applied completely or not at all. Objects that can't be imported don't prevent
// the import of others.
func (k *Keep) Import(ctx context.Context, c Caller, in Import) (ImportReport, error) {
	i := &importer{k: k, c: &c, secrets: k.maps, given: in}
	rec := c.record("import", 0)
	if !c.Operator() {
		return i.report, k.recordOutcome(rec, k.now(), ErrNotOperator)
	}
	// That it was begun is recorded even if there is nothing to do.
	if err := k.recordOutcome(rec, k.now(), nil); err != nil {
		return i.report, err
	}
	if err := i.apply(ctx); err != nil {
		return ImportReport{}, err
	}
	return i.report, nil
}

// PlanImport says what Import would do to a store that no server has open. It
// writes nothing. It takes no Caller: whoever runs it has the files and the
// key.
func PlanImport(ctx context.Context, s store.Store, keys *seal.Keys, in Import) (ImportReport, error) {
	secrets, err := secretmap.New(secretmap.Options{})
	if err != nil {
		return ImportReport{}, err
	}
	i := &importer{secrets: secrets, given: in}
	err = record.New(s, keys, time.Now).View(ctx, func(r *record.Reader) error {
		i.begin()
		return i.each(&view{Reader: r, dir: directory.New(r.DB()).Read(r)}, func(planned) error { return nil }, func(*plannedSecrets) error { return nil })
	})
	return i.report, domain(err)
}

type importer struct {
	k       *Keep   // nil for a plan
	c       *Caller // nil for a plan
	secrets *secretmap.Maps
	given   Import
	in      Import // given, with the IDs of named organizations
	report  ImportReport
	// Objects that a plan would have created by now. A transaction that writes
	// also finds them in the store.
	past   *past
	made   map[string]ID // by kind and ID, and by kind and name
	tokens map[directory.Hash]ID
}

// begin resets the importer for a new run.
func (i *importer) begin() {
	i.report = ImportReport{Counts: make(map[string]ImportCounts)}
	i.made, i.tokens = make(map[string]ID), make(map[directory.Hash]ID)
}

// planned is the plan for an object.
type planned struct {
	ImportRemark
	write    func(*tx) error // makes the change, if there is one
	update   func(*tx) error // makes the object match the source; nil if impossible
	made     func()          // notes that the object would exist
	remember *pastRecord     // for the next import
}

func (p planned) skip(o ImportOutcome, reason string, args ...any) (planned, error) {
	p.Outcome, p.Reason = o, fmt.Sprintf(reason, args...)
	return p, nil
}

// compare plans for an object that exists here, given the fields that differ.
func (p planned) compare(differs []string, update func(*tx) error) (planned, error) {
	p.update = update
	if len(differs) > 0 {
		return p.skip(ImportDifferent, "is here with another %s", strings.Join(differs, " and "))
	}
	return p.skip(ImportUnchanged, "")
}

func (p planned) create(write func(*tx) error, made func()) (planned, error) {
	p.Outcome, p.write, p.made = ImportNew, write, made
	return p, nil
}

func (p planned) record(c *Caller) *audit.Record {
	rec := c.record("import", p.Org)
	rec.Target, rec.Detail = p.ID.String(), p.Kind
	if p.Kind == ImportMemberKind {
		rec.Detail = p.Name // the role
	}
	if p.Outcome != ImportNew {
		rec.Detail += " " + string(p.Outcome)
	}
	return rec
}

// each plans all objects in order, and calls write or writeSecrets with each plan.
// Later plans build on it.
func (i *importer) each(v *view, write func(planned) error, writeSecrets func(*plannedSecrets) error) (err error) {
	if i.in, err = i.given.resolve(v); err != nil {
		return err
	}
	if i.past, err = readPast(v, i.in.Source); err != nil {
		return err
	}
	if err := plans(i, v, i.in.Organizations, i.planOrg, write); err != nil {
		return err
	}
	if err := plans(i, v, i.in.Users, i.planUser, write); err != nil {
		return err
	}
	if err := plans(i, v, i.in.Members, i.planMember, write); err != nil {
		return err
	}
	if err := plans(i, v, i.in.Tokens, i.planToken, write); err != nil {
		return err
	}
	if err := i.planAllDeletions(v, write); err != nil {
		return err
	}
	gone := i.deletedSecrets()
	orgs := slices.Concat(slices.Collect(maps.Keys(i.in.Secrets)), slices.Collect(maps.Keys(gone)))
	slices.Sort(orgs)
	for _, org := range slices.Compact(orgs) {
		p, err := i.planSecrets(v, org, gone[org])
		if err == nil {
			err = writeSecrets(p)
		}
		if err != nil {
			return err
		}
		i.noteSecrets(p)
	}
	return nil
}

// planAllDeletions plans for objects that were deleted at the source.
func (i *importer) planAllDeletions(v *view, write func(planned) error) error {
	if i.in.Partial {
		return nil
	}
	for _, kind := range []string{ImportTokenKind, ImportMemberKind, ImportUserKind, ImportOrganizationKind} {
		if !i.in.includes(kind) {
			continue
		}
		for _, r := range i.past.deleted(kind) {
			p, ok, err := i.planDeletion(v, r)
			if err == nil && ok {
				err = write(p)
			}
			if err != nil {
				return err
			}
			if ok {
				i.note(p)
			}
		}
	}
	return nil
}

func plans[T any](i *importer, v *view, list []T, plan func(*view, T) (planned, error), write func(planned) error) error {
	for _, object := range list {
		if err := v.Context().Err(); err != nil {
			return err
		}
		p, err := plan(v, object)
		if err == nil {
			p, err = i.compareWithPast(v, p, object)
		}
		if err == nil {
			err = write(p)
		}
		if err != nil {
			return err
		}
		i.note(p)
	}
	return nil
}

func (i *importer) note(p planned) {
	i.count(p.Kind, p.Outcome, 1)
	i.report.Remarks = append(i.report.Remarks, p.ImportRemark)
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

// apply plans within the transaction that writes, so the plan can't be outdated.
func (i *importer) apply(ctx context.Context) error {
	var written map[ID]ChangeResult
	err := i.k.updateEach(ctx, i.c, func(t *tx) (records []*audit.Record, err error) {
		i.begin()
		written = make(map[ID]ChangeResult)
		err = i.each(&t.view, func(p planned) error {
			if p.remember != nil {
				if err := t.putPast(*p.remember); err != nil {
					return err
				}
			}
			if p.write == nil {
				return nil
			}
			records = append(records, p.record(i.c))
			return p.write(t)
		}, func(p *plannedSecrets) error {
			more, out, err := i.applySecrets(t, p)
			if len(more) > 0 {
				records, written[p.org] = append(records, more...), out
			}
			return err
		})
		return records, err
	})
	if err != nil {
		return err
	}
	for org, out := range written {
		i.k.announceChange(org, out)
	}
	return nil
}

// applySecrets makes the changes that a plan for an organization's secrets has, each
// with a record. It returns the result of the last one.
func (i *importer) applySecrets(t *tx, p *plannedSecrets) (records []*audit.Record, out ChangeResult, err error) {
	for _, r := range p.remember {
		if err := t.putPast(r); err != nil {
			return nil, out, err
		}
	}
	for _, r := range p.forget {
		if err := t.deletePast(r); err != nil {
			return nil, out, err
		}
	}
	if len(p.add)+len(p.update)+len(p.remove) == 0 {
		return nil, out, nil
	}
	set := maps.Clone(p.add)
	maps.Copy(set, p.update)
	changes := append(p.earlier, Change{Set: set, Remove: p.remove, Replace: len(p.earlier) > 0})
	for n, ch := range changes {
		ch.CAS, ch.Always = new(p.version+uint64(n)), n < len(p.earlier)
		rec := i.c.record("import", p.org)
		rec.Detail = ImportSecretKind
		records = append(records, rec)
		w, err := t.writer(i.c, p.org)
		if err != nil {
			return nil, out, err
		}
		out, err = w.Apply(ch)
		recordResult(rec, out, err)
		if err != nil && !errors.Is(err, errUnchanged) {
			return nil, out, err
		}
	}
	return records, out, nil
}

// updateEach is update for several objects, each with its own audit record. It
// writes nothing if fn returns no records.
func (k *Keep) updateEach(ctx context.Context, c *Caller, fn func(*tx) ([]*audit.Record, error)) error {
	if err := k.requireAuditLog(c, "import", 0); err != nil {
		return err
	}
	var ids []audit.ID
	var lines [][]byte
	inDoubt, err := k.transact(ctx, func(t *tx) error {
		ids, lines = ids[:0], lines[:0]
		records, err := fn(t)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return errUnchanged
		}
		for _, rec := range records {
			rec.ID, rec.Time, rec.Outcome = k.ids.Next(), t.Now, audit.Allowed
			k.redact(rec)
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
	if inDoubt {
		for n, id := range ids {
			k.addInDoubt(missedRecord{id, lines[n]})
		}
	}
	if err != nil {
		return k.recordOutcome(c.record("import", 0), k.now(), domain(err))
	}
	for n, id := range ids {
		k.deliver(id, lines[n])
	}
	return nil
}
