package keep

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"golang.org/x/crypto/bcrypt"
)

func (i *importer) remember(kind string, id ID, name string) func() {
	return func() { i.made[kind+" "+id.String()], i.made[kind+" named "+name] = id, id }
}

func (i *importer) planOrg(v *view, o Organization) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportOrganizationKind, ID: o.ID, Org: o.ID, Name: o.Name}}
	if err := checkOrganizationName(o.Name); err != nil {
		return p.left(ImportRefused, "%v", err)
	}
	old, err := v.org(o.ID)
	if err == nil {
		return p.compared(differing(
			difference{"name", old.Name != o.Name},
			difference{"description", old.Description != o.Description},
		))
	}
	if !errors.Is(err, ErrOrganizationNotFound) {
		return p, err
	}
	has, err := v.orgNamed(o.Name)
	if err != nil {
		return p, err
	}
	if has == 0 {
		has = i.made[ImportOrganizationKind+" named "+uniqueName(o.Name)]
	}
	if has != 0 {
		return p.left(ImportConflict, "its name is that of organization %s", has)
	}
	if err := checkNewOrganizationName(o.ID, o.Name); err != nil {
		p.Reason = err.Error() + "; use its ID, or rename it"
	}
	return p.taken(func(t *tx) error {
		r := &orgRecord{Name: o.Name, Description: o.Description, Created: o.Created, Updated: o.Updated}
		if r.Created.IsZero() {
			r.Created = t.Now
		}
		if r.Updated.Before(r.Created) {
			r.Updated = r.Created
		}
		return t.putOrg(o.ID, nil, r)
	}, i.remember(ImportOrganizationKind, o.ID, uniqueName(o.Name)))
}

func (i *importer) planUser(v *view, u ImportUser) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportUserKind, ID: u.ID, Name: u.Name}}
	if err := checkUserName(u.Name); err != nil {
		return p.left(ImportRefused, "%v", err)
	}
	if len(u.Password) > 0 {
		if cost, err := bcrypt.Cost(u.Password); err != nil || cost > MaxPasswordCost {
			return p.left(ImportRefused, "its password hash is not bcrypt's, or costs more than %d", MaxPasswordCost)
		}
	}
	old, err := v.user(u.ID)
	if err == nil {
		return p.compared(differing(
			difference{"name", old.Name != u.Name},
			difference{"status", old.Inactive == u.Active},
			difference{"password", string(old.Password) != string(u.Password)},
			difference{"role in the instance", old.Owner != u.Owner},
		))
	}
	if !errors.Is(err, ErrUserNotFound) {
		return p, err
	}
	has, err := v.userByName(u.Name)
	if err != nil {
		return p, err
	}
	if has == 0 {
		has = i.made[ImportUserKind+" named "+u.Name]
	}
	if has != 0 {
		return p.left(ImportConflict, "its name is that of user %s", has)
	}
	if !u.Active {
		p.Reason = "is inactive"
	}
	return p.taken(func(t *tx) error {
		return t.putUser(u.ID, nil, &userRecord{
			Name: u.Name, Inactive: !u.Active, Owner: u.Owner, Password: u.Password, Created: t.Now, Updated: t.Now,
		})
	}, i.remember(ImportUserKind, u.ID, u.Name))
}

type difference struct {
	what  string
	there bool
}

func differing(list ...difference) []string {
	var out []string
	for _, d := range list {
		if d.there {
			out = append(out, d.what)
		}
	}
	return out
}

// lacksOrg says that an organization is not there and would not be, or
// nothing.
func (i *importer) lacksOrg(v *view, id ID) (string, error) {
	if i.made[ImportOrganizationKind+" "+id.String()] != 0 {
		return "", nil
	}
	_, err := v.org(id)
	if errors.Is(err, ErrOrganizationNotFound) {
		return "organization " + id.String() + " is not here", nil
	}
	return "", err
}

func (i *importer) lacksUser(v *view, id ID) (string, error) {
	if i.made[ImportUserKind+" "+id.String()] != 0 {
		return "", nil
	}
	_, err := v.user(id)
	if errors.Is(err, ErrUserNotFound) {
		return "user " + id.String() + " is not here", nil
	}
	return "", err
}

func (i *importer) planMember(v *view, m ImportMember) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportMemberKind, ID: m.User, Org: m.Org, Name: string(m.Role)}}
	lacks, err := i.lacksOrg(v, m.Org)
	if err == nil && lacks == "" {
		lacks, err = i.lacksUser(v, m.User)
	}
	if err != nil {
		return p, err
	}
	if lacks != "" {
		return p.left(ImportRefused, "%s", lacks)
	}
	has, err := v.role(m.Org, m.User)
	switch {
	case err != nil:
		return p, err
	case has == m.Role:
		return p.left(ImportUnchanged, "")
	case has != "":
		return p.left(ImportDifferent, "is %s here", withArticle(has))
	}
	return p.taken(func(t *tx) error { return t.putMember(m.Org, m.User, m.Role) }, nil)
}

func (i *importer) planToken(v *view, t ImportToken) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportTokenKind, ID: t.ID, Org: t.Org, Name: t.Description}}
	if isEmptyToken(t) {
		return p.left(ImportRefused, "it has no token, or the hash of an empty one")
	}
	hashes := importedHashes(v.DB(), t)
	old, err := v.token(t.ID)
	if err == nil {
		return p.compared(differing(
			difference{"token", !slices.ContainsFunc(append(old.Imported, old.Hash), func(h record.Hash) bool { return slices.Contains(hashes, h) })},
			difference{"owner", old.Org != t.Org || old.User != t.User},
			difference{"status", old.Inactive == t.Active},
			difference{"description", old.Description != t.Description},
			difference{"set of permissions", !slices.Equal(toSet(old.Permissions), t.Permissions) || len(old.Names) > 0 || !old.Expires.IsZero()},
		))
	}
	if !errors.Is(err, ErrTokenNotFound) {
		return p, err
	}
	for _, h := range hashes {
		entry, err := record.Load[entryRecord](v.Reader, record.HashKey(record.TableTokenHash, h))
		if err != nil {
			return p, err
		}
		has := i.tokens[h]
		if entry != nil {
			has = entry.ID
		}
		if has != 0 {
			return p.left(ImportConflict, "it is the same as token %s", has)
		}
	}
	lacks, err := i.lacksUser(v, t.User)
	if err != nil {
		return p, err
	}
	if lacks != "" {
		return p.left(ImportRefused, "%s", lacks)
	}
	if lacks, err = i.lacksOrg(v, t.Org); err != nil {
		return p, err
	}
	if lacks != "" && slices.ContainsFunc(i.in.Organizations, func(o Organization) bool { return o.ID == t.Org }) {
		return p.left(ImportRefused, "%s", lacks)
	}
	if found, err := i.misplaced(v, t.Permissions); err != nil {
		return p, err
	} else if found {
		return p.left(ImportRefused, "a permission of it names a resource outside its organization")
	}
	var notes []string
	if lacks != "" {
		// Its organization was deleted. It still worked there, so it has to
		// work here.
		notes = append(notes, lacks+", nor was it there: the token works, and no list shows it")
	}
	if !t.Active {
		notes = append(notes, "is inactive")
	}
	if note := foreignPermissions(t.Permissions); note != "" {
		notes = append(notes, note)
	}
	p.Reason = strings.Join(notes, "; ")
	return p.taken(func(x *tx) error { return x.putImportedToken(t, hashes) }, func() { i.tokens[hashes[0]] = t.ID })
}

// misplaced is view.misplaced for a token that is imported, together with what
// its permissions are for.
func (i *importer) misplaced(v *view, set acl.Set) (bool, error) {
	for _, p := range set {
		r := p.Resource
		if r.ID == 0 || r.OrgID == 0 {
			continue
		}
		switch r.Type {
		case acl.Users: // belong to no organization
			return true, nil
		case acl.Orgs:
			if r.ID != r.OrgID {
				return true, nil
			}
		case acl.Authorizations:
			org, err := i.tokenOrg(v, r.ID)
			if err != nil || org != 0 && org != r.OrgID {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// tokenOrg returns the organization of a token that is here, or will be, and 0
// when there is none.
func (i *importer) tokenOrg(v *view, id ID) (ID, error) {
	for _, t := range i.in.Tokens {
		if t.ID == id {
			return t.Org, nil
		}
	}
	r, err := v.token(id)
	if errors.Is(err, ErrTokenNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return r.Org, nil
}

// foreignPermissions says which permissions are for resources of InfluxDB that
// are not kept here. They stay with the token, which shows them as before.
func foreignPermissions(set acl.Set) string {
	n := 0
	var types []string
	for _, p := range set {
		switch p.Resource.Type {
		case acl.Authorizations, acl.Orgs, acl.Users, acl.Secrets, acl.Instance:
		default:
			n++
			if t := string(p.Resource.Type); !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
	}
	const most = 3
	more := ""
	if n == 0 {
		return ""
	}
	if len(types) > most {
		types, more = types[:most], " and more"
	}
	which := "all its permissions are"
	if n < len(set) {
		which = fmt.Sprintf("%d of its %d permissions are", n, len(set))
	}
	return which + " for what is not kept here: " + strings.Join(types, ", ") + more
}

func (t *tx) putImportedToken(n ImportToken, hashes []record.Hash) error {
	r := &tokenRecord{
		Hash: hashes[0], Imported: hashes[1:], Org: n.Org, User: n.User, Inactive: !n.Active,
		Description: n.Description, Permissions: toRecords(n.Permissions), Created: n.Created, Updated: n.Updated,
	}
	if r.Created.IsZero() {
		r.Created = t.Now
	}
	if r.Updated.Before(r.Created) {
		r.Updated = r.Created
	}
	return t.putToken(n.ID, nil, r)
}

// importedHashes returns the keyed hash by which the token is found, and then
// those by which it is known again when InfluxDB keeps it in another form.
func importedHashes(db *record.DB, t ImportToken) []record.Hash {
	if t.Value == "" {
		return []record.Hash{db.Hash(influxToken, t.Hash)}
	}
	return append([]record.Hash{db.Hash("token", t.Value)}, influxHashes(db, t.Value)...)
}
