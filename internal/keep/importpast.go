package keep

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// pastRecord describes an imported object, so that a later import can tell what
// has changed at the source and what was deleted here. It has no values: Sum is a
// keyed hash of the object's state at the source.
type pastRecord struct {
	Source ID             `json:"source"`
	Kind   string         `json:"kind"`
	Org    ID             `json:"org,omitzero"`
	ID     ID             `json:"id,omitzero"`   // the user's for a member
	Name   string         `json:"name,omitzero"` // for a secret
	Sum    directory.Hash `json:"sum"`
}

// past has the pastRecords of the source server.
type past struct {
	source ID
	known  map[directory.Hash]pastRecord
	there  map[directory.Hash]bool // exists at the source now
}

// readPast reads the records of earlier imports from a server. Without the
// server's ID there are none.
func readPast(v *view, source ID) (*past, error) {
	p := &past{source: source, known: make(map[directory.Hash]pastRecord), there: make(map[directory.Hash]bool)}
	if source == 0 {
		return p, nil
	}
	return p, v.ScanPrefix(record.Key(record.TableImported), func(k, sealed []byte) (bool, error) {
		r, err := record.Decode[pastRecord](v.Reader, k, sealed)
		if err == nil && r.Source == source {
			p.known[directory.Hash(k[1:])] = *r
		}
		return true, err
	})
}

// key returns the hash under which the record is stored.
func (r *pastRecord) key(v *view) directory.Hash {
	return v.Hash("imported", r.Source.String()+r.Kind+r.Org.String()+r.ID.String()+r.Name)
}

// find notes that an object exists at the source, and returns its current record.
// before says that an earlier import found the object, and changed that its state
// was different then.
func (p *past) find(v *view, r pastRecord, object any) (now pastRecord, before, changed bool, err error) {
	if p.source == 0 {
		return r, false, false, nil
	}
	state, err := json.Marshal(object)
	if err != nil {
		return r, false, false, err
	}
	r.Source = p.source
	h := r.key(v)
	r.Sum = v.Hash("imported state", string(h[:])+string(state))
	p.there[h] = true
	old, before := p.known[h]
	return r, before, before && old.Sum != r.Sum, nil
}

// deleted returns the objects of a kind that an earlier import found and that no
// longer exist at the source.
func (p *past) deleted(kind string) []pastRecord {
	var out []pastRecord
	for _, h := range slices.SortedFunc(maps.Keys(p.known), func(a, b directory.Hash) int { return slices.Compare(a[:], b[:]) }) {
		if r := p.known[h]; r.Kind == kind && !p.there[h] {
			out = append(out, r)
		}
	}
	return out
}

func (t *tx) putPast(r pastRecord) error {
	if r.Source == 0 {
		return nil
	}
	return t.w.PutJSON(record.HashKey(record.TableImported, r.key(&t.view)), r)
}

func (t *tx) deletePast(r pastRecord) error {
	return t.w.Delete(record.HashKey(record.TableImported, r.key(&t.view)))
}

// compareWithPast completes a plan using the previous import: an object deleted
// here stays deleted, and a change at the source is applied only if the import is
// an update.
func (i *importer) compareWithPast(v *view, p planned, object any) (planned, error) {
	r, before, changed, err := i.past.find(v, pastRecord{Kind: p.Kind, Org: p.Org, ID: p.ID}, object)
	if err != nil {
		return p, err
	}
	switch {
	case p.Outcome == ImportNew && before && !i.in.RestoreDeleted:
		p.made, p.write = nil, nil
		return p.skip(ImportDeleted, "was imported before, and deleted here since")
	case p.Outcome == ImportDifferent && changed && p.update == nil:
		return p, nil
	case p.Outcome == ImportDifferent && changed && !i.in.Update:
		p.Outcome, p.Reason = ImportChanged, "was changed there since the last import: it "+p.Reason
		return p, nil
	case p.Outcome == ImportDifferent && changed:
		p.Outcome, p.Reason, p.write = ImportUpdated, strings.Replace(p.Reason, "is ", "was ", 1), p.update
	case p.Outcome != ImportNew && p.Outcome != ImportUnchanged:
		return p, nil
	}
	p.remember = &r
	return p, nil
}

// planDeletion plans for an object that an earlier import found and that was
// deleted at the source. ok is false if it doesn't exist here either.
func (i *importer) planDeletion(v *view, r pastRecord) (p planned, ok bool, err error) {
	p = planned{ImportRemark: ImportRemark{Kind: r.Kind, ID: r.ID, Org: r.Org}}
	what := "is no longer there"
	switch r.Kind {
	case ImportOrganizationKind:
		o, err := v.dir.Organization(r.ID)
		if err != nil {
			return p, false, ignore(err, ErrOrganizationNotFound)
		}
		p.Name, what = o.Name, "is no longer there; it stays here until it is deleted"
	case ImportUserKind:
		u, err := v.dir.Account(r.ID)
		if err != nil || !u.Active {
			return p, false, ignore(err, ErrUserNotFound)
		}
		p.Name = u.Name
		p.update = func(t *tx) error {
			u.Active, u.Updated = false, t.Now
			if err := t.dir.PutAccount(u); err != nil {
				return err
			}
			return t.dir.EndSessions(u.ID, directory.Hash{})
		}
	case ImportMemberKind:
		role, err := v.dir.Role(r.Org, r.ID)
		if err != nil || role == "" {
			return p, false, err
		}
		p.Name = string(role)
		p.update = func(t *tx) error { return t.dir.DeleteMember(r.Org, r.ID) }
	case ImportTokenKind:
		k, err := v.dir.Token(r.ID)
		if err != nil {
			return p, false, ignore(err, ErrTokenNotFound)
		}
		p.Name = k.Description
		p.update = func(t *tx) error { return t.dir.DeleteToken(r.ID) }
	}
	if p.update == nil || !i.in.Update {
		p, err = p.skip(ImportGone, "%s", what)
		return p, true, err
	}
	p.Outcome, p.Reason = ImportRemoved, what
	p.write = func(t *tx) error {
		if err := p.update(t); err != nil {
			return err
		}
		return t.deletePast(r)
	}
	return p, true, nil
}

// ignore returns err unless it is the expected one.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
