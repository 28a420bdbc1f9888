package keep

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// plannedSecrets is the plan for an organization's secrets.
type plannedSecrets struct {
	org       ID
	version   uint64 // the current one
	add       map[string]string
	update    map[string]string
	earlier   []Change // to make first: the earlier versions
	remove    []string
	unchanged int
	different int
	refused   int
	changed   int
	gone      int
	deleted   int
	remarks   []ImportRemark
	remember  []pastRecord
	forget    []pastRecord
}

func (p *plannedSecrets) remark(name string, n int, o ImportOutcome, reason string) {
	if n > 0 {
		p.remarks = append(p.remarks, ImportRemark{Kind: ImportSecretKind, Org: p.org, Name: name, Secrets: n, Outcome: o, Reason: reason})
	}
}

// deletedSecrets returns the secrets that were deleted at the source, by
// organization.
func (i *importer) deletedSecrets() map[ID][]pastRecord {
	out := make(map[ID][]pastRecord)
	if i.in.Partial || !i.in.includes(ImportSecretKind) {
		return out
	}
	for _, r := range i.past.deleted(ImportSecretKind) {
		if _, there := i.in.Secrets[r.Org][r.Name]; !there {
			out[r.Org] = append(out[r.Org], r)
		}
	}
	return out
}

func (i *importer) planSecrets(v *view, org ID, gone []pastRecord) (*plannedSecrets, error) {
	p := &plannedSecrets{org: org, add: make(map[string]string), update: make(map[string]string)}
	secrets := i.in.Secrets[org]
	lacks, err := i.missingOrg(v, org)
	if err != nil {
		return nil, err
	}
	if lacks != "" {
		p.refused = len(secrets)
		p.remark("", len(secrets), ImportRefused, lacks)
		return p, nil
	}
	now, err := i.secrets.Read(v.Reader, org)
	if err != nil {
		return nil, err
	}
	if p.version = now.Current(); p.version == 0 {
		for _, state := range i.in.earlier[org] {
			p.earlier = append(p.earlier, Change{Set: importable(state), Replace: true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		value := secrets[name]
		if err := errors.Join(validName("secret name", name), validValue(value)); err != nil {
			p.refused++
			p.remark(name, 1, ImportRefused, err.Error())
			continue
		}
		has, ok, err := now.Value(name)
		if err != nil {
			return nil, err
		}
		r, before, changed, err := i.past.find(v, pastRecord{Kind: ImportSecretKind, Org: org, Name: name}, value)
		switch {
		case err != nil:
			return nil, err
		case !ok && before && !i.in.RestoreDeleted:
			p.deleted++
			p.remark(name, 1, ImportDeleted, "was imported before, and deleted here since")
			continue
		case !ok:
			p.add[name] = value
		case has == value:
			p.unchanged++
		case changed && i.in.Update:
			p.update[name] = value
			p.remark(name, 1, ImportUpdated, "had another value here until now")
		case changed:
			p.changed++
			p.remark(name, 1, ImportChanged, "was changed there since the last import: it has another value here")
			continue
		default:
			p.different++
			p.remark(name, 1, ImportDifferent, "has another value here")
			continue
		}
		p.remember = append(p.remember, r)
	}
	for _, r := range gone {
		_, ok, err := now.Value(r.Name)
		switch {
		case err != nil:
			return nil, err
		case !ok: // nor here
		case i.in.Update:
			p.remove, p.forget = append(p.remove, r.Name), append(p.forget, r)
			p.remark(r.Name, 1, ImportRemoved, "is no longer there")
		default:
			p.gone++
			p.remark(r.Name, 1, ImportGone, "is no longer there")
		}
	}
	return p, nil
}

// importable returns the secrets that can be stored.
func importable(secrets map[string]string) map[string]string {
	out := maps.Clone(secrets)
	maps.DeleteFunc(out, func(name, value string) bool {
		return validName("secret name", name) != nil || validValue(value) != nil
	})
	return out
}

func (i *importer) noteSecrets(p *plannedSecrets) {
	i.count(ImportSecretKind, ImportNew, len(p.add))
	i.count(ImportSecretKind, ImportUnchanged, p.unchanged)
	i.count(ImportSecretKind, ImportDifferent, p.different)
	i.count(ImportSecretKind, ImportRefused, p.refused)
	i.count(ImportSecretKind, ImportUpdated, len(p.update))
	i.count(ImportSecretKind, ImportRemoved, len(p.remove))
	i.count(ImportSecretKind, ImportChanged, p.changed)
	i.count(ImportSecretKind, ImportGone, p.gone)
	i.count(ImportSecretKind, ImportDeleted, p.deleted)
	odd := 0
	for _, name := range slices.Sorted(maps.Keys(p.add)) {
		if err := newName("secret name", name); err != nil {
			p.remark(name, 1, ImportNew, err.Error()+"; it can be read, and deleted with POST …/secrets/delete")
			odd++
		}
	}
	p.remark("", len(p.add)-odd, ImportNew, "")
	p.remark("", p.unchanged, ImportUnchanged, "")
	i.report.Remarks = append(i.report.Remarks, p.remarks...)
}

// ImportComparison counts the secrets of an import by comparison with those stored.
type ImportComparison struct {
	Equal     int
	Different int
	Missing   int
}

// CompareSecrets compares each secret of an import with the stored one, by keyed
// hashes. Needs an operator.
func (k *Keep) CompareSecrets(ctx context.Context, c Caller, in Import) (ImportComparison, error) {
	var out ImportComparison
	if !c.Operator() {
		return out, k.recordOutcome(c.record("import", 0), k.now(), ErrNotOperator)
	}
	if err := k.readUnaudited(ctx, func(v *view) (err error) { in, err = in.resolve(v); return err }); err != nil {
		return out, domain(err)
	}
	for _, org := range slices.Sorted(maps.Keys(in.Secrets)) {
		rec := c.record("import", org)
		rec.Detail, rec.Names = "compare", slices.Sorted(maps.Keys(in.Secrets[org]))
		err := k.read(ctx, rec, func(v *view) error {
			now, err := v.k.maps.Read(v.Reader, org)
			if err != nil {
				return err
			}
			rec.Version = now.Current()
			for name, value := range in.Secrets[org] {
				has, ok, err := now.Value(name)
				switch {
				case err != nil:
					return err
				case !ok:
					out.Missing++
				case k.records.Hash("compare", has) == k.records.Hash("compare", value):
					out.Equal++
				default:
					out.Different++
				}
			}
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}
