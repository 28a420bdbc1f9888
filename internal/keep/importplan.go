package keep

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/directory"
	"golang.org/x/crypto/bcrypt"
)

func (i *importer) noteCreated(kind string, id ID, name string) func() {
	return func() { i.made[kind+" "+id.String()], i.made[kind+" named "+name] = id, id }
}

func (i *importer) planOrg(v *view, o Organization) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportOrganizationKind, ID: o.ID, Org: o.ID, Name: o.Name}}
	if err := checkOrganizationName(o.Name); err != nil {
		return p.skip(ImportRefused, "%v", err)
	}
	has, err := v.dir.OrganizationNamed(o.Name)
	if err != nil {
		return p, err
	}
	old, err := v.dir.Organization(o.ID)
	if err == nil && (has == 0 || has == o.ID) {
		return p.compare(differing(
			difference{"name", old.Name != o.Name},
			difference{"description", old.Description != o.Description},
		), func(t *tx) error {
			o.Created, o.Updated = old.Created, t.Now
			return t.dir.PutOrganization(o)
		})
	}
	if err != nil && !errors.Is(err, ErrOrganizationNotFound) {
		return p, err
	}
	if has == 0 {
		has = i.made[ImportOrganizationKind+" named "+directory.UniqueName(o.Name)]
	}
	if has != 0 {
		return p.skip(ImportConflict, "its name is that of organization %s", has)
	}
	if err := checkNewOrganizationName(o.ID, o.Name); err != nil {
		p.Reason = err.Error() + "; use its ID, or rename it"
	}
	return p.create(func(t *tx) error {
		o.Created, o.Updated = importedTimes(t.Now, o.Created, o.Updated)
		return t.dir.PutOrganization(o)
	}, i.noteCreated(ImportOrganizationKind, o.ID, directory.UniqueName(o.Name)))
}

func (i *importer) planUser(v *view, u ImportUser) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportUserKind, ID: u.ID, Name: u.Name}}
	if err := checkUserName(u.Name); err != nil {
		return p.skip(ImportRefused, "%v", err)
	}
	if len(u.Password) > 0 {
		if cost, err := bcrypt.Cost(u.Password); err != nil || cost > MaxPasswordCost {
			return p.skip(ImportRefused, "its password hash is not bcrypt's, or costs more than %d", MaxPasswordCost)
		}
	}
	has, err := v.dir.UserNamed(u.Name)
	if err != nil {
		return p, err
	}
	old, err := v.dir.Account(u.ID)
	if err == nil && (has == 0 || has == u.ID) {
		return p.compare(differing(
			difference{"name", old.Name != u.Name},
			difference{"status", old.Active != u.Active},
			difference{"password", string(old.Password) != string(u.Password)},
			difference{"role in the instance", old.Owner != u.Owner},
		), func(t *tx) error {
			u.Created, u.Updated = old.Created, t.Now
			if err := t.dir.PutAccount(u); err != nil {
				return err
			}
			return t.dir.EndSessions(u.ID, directory.Hash{})
		})
	}
	if err != nil && !errors.Is(err, ErrUserNotFound) {
		return p, err
	}
	if has == 0 {
		has = i.made[ImportUserKind+" named "+u.Name]
	}
	if has != 0 {
		return p.skip(ImportConflict, "its name is that of user %s", has)
	}
	if !u.Active {
		p.Reason = "is inactive"
	}
	if err := checkNewUserName(u.Name); err != nil {
		p.Reason = err.Error() + "; it can't sign in until you rename it"
	}
	return p.create(func(t *tx) error {
		u.Created, u.Updated = t.Now, t.Now
		return t.dir.PutAccount(u)
	}, i.noteCreated(ImportUserKind, u.ID, u.Name))
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

// missingOrg returns a reason if an organization doesn't exist and won't be
// created, "" otherwise.
func (i *importer) missingOrg(v *view, id ID) (string, error) {
	if i.made[ImportOrganizationKind+" "+id.String()] != 0 {
		return "", nil
	}
	_, err := v.dir.Organization(id)
	if errors.Is(err, ErrOrganizationNotFound) {
		return "organization " + id.String() + " is not here", nil
	}
	return "", err
}

func (i *importer) missingUser(v *view, id ID) (string, error) {
	if i.made[ImportUserKind+" "+id.String()] != 0 {
		return "", nil
	}
	_, err := v.dir.User(id)
	if errors.Is(err, ErrUserNotFound) {
		return "user " + id.String() + " is not here", nil
	}
	return "", err
}

func (i *importer) planMember(v *view, m ImportMember) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportMemberKind, ID: m.User, Org: m.Org, Name: string(m.Role)}}
	lacks, err := i.missingOrg(v, m.Org)
	if err == nil && lacks == "" {
		lacks, err = i.missingUser(v, m.User)
	}
	if err != nil {
		return p, err
	}
	if lacks != "" {
		return p.skip(ImportRefused, "%s", lacks)
	}
	has, err := v.dir.Role(m.Org, m.User)
	switch {
	case err != nil:
		return p, err
	case has == m.Role:
		return p.skip(ImportUnchanged, "")
	case has != "":
		p.update = func(t *tx) error { return t.dir.PutMember(m.Org, m.User, m.Role) }
		return p.skip(ImportDifferent, "is %s here", withArticle(has))
	}
	return p.create(func(t *tx) error { return t.dir.PutMember(m.Org, m.User, m.Role) }, nil)
}

func (i *importer) planToken(v *view, t ImportToken) (planned, error) {
	p := planned{ImportRemark: ImportRemark{Kind: ImportTokenKind, ID: t.ID, Org: t.Org, Name: t.Description}}
	if directory.IsEmptyToken(t.Value, t.Hash) {
		return p.skip(ImportRefused, "it has no token, or the hash of an empty one")
	}
	hashes := v.dir.ImportedHashes(t.Value, t.Hash)
	old, err := v.dir.Token(t.ID)
	if err == nil {
		same, err := v.dir.TokenHashed(t.ID, hashes)
		if err != nil {
			return p, err
		}
		misplaced, err := i.misplaced(v, t.Permissions)
		if err != nil {
			return p, err
		}
		var update func(*tx) error
		if same && !misplaced && old.Org == t.Org && old.User == t.User {
			update = func(x *tx) error {
				// Limits that the token got here stay.
				n := old
				n.Active, n.Description, n.Permissions, n.Updated = t.Active, t.Description, t.Permissions, x.Now
				return x.dir.UpdateToken(n)
			}
		}
		return p.compare(differing(
			difference{"token", !same},
			difference{"owner", old.Org != t.Org || old.User != t.User},
			difference{"status", old.Active != t.Active},
			difference{"description", old.Description != t.Description},
			difference{"set of permissions", !slices.Equal(old.Permissions, t.Permissions) || len(old.Names) > 0 || !old.Expires.IsZero()},
		), update)
	}
	if !errors.Is(err, ErrTokenNotFound) {
		return p, err
	}
	for _, h := range hashes {
		has, err := v.dir.TokenByHash(h)
		if err != nil {
			return p, err
		}
		if has == 0 {
			has = i.tokens[h]
		}
		if has != 0 {
			return p.skip(ImportConflict, "it is the same as token %s", has)
		}
	}
	lacks, err := i.missingUser(v, t.User)
	if err != nil {
		return p, err
	}
	if lacks != "" {
		return p.skip(ImportRefused, "%s", lacks)
	}
	if lacks, err = i.missingOrg(v, t.Org); err != nil {
		return p, err
	}
	if lacks != "" && slices.ContainsFunc(i.in.Organizations, func(o Organization) bool { return o.ID == t.Org }) {
		return p.skip(ImportRefused, "%s", lacks)
	}
	if found, err := i.misplaced(v, t.Permissions); err != nil {
		return p, err
	} else if found {
		return p.skip(ImportRefused, "a permission of it names a resource outside its organization")
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
	return p.create(func(x *tx) error {
		n := t.Token
		n.Created, n.Updated = importedTimes(x.Now, n.Created, n.Updated)
		return x.dir.ImportToken(n, hashes)
	}, func() { i.tokens[hashes[0]] = t.ID })
}

// misplaced is view.misplaced for a token that is imported together with the
// resources that its permissions name.
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

// tokenOrg returns the organization of a token that exists or will be created, 0
// if there is none.
func (i *importer) tokenOrg(v *view, id ID) (ID, error) {
	for _, t := range i.in.Tokens {
		if t.ID == id {
			return t.Org, nil
		}
	}
	t, err := v.dir.Token(id)
	if errors.Is(err, ErrTokenNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return t.Org, nil
}

// foreignPermissions names the permissions on InfluxDB resources that Fluxkeep
// doesn't store. The token keeps them.
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

// importedTimes returns when an object was created and updated, as far as the
// other server knows.
func importedTimes(now, created, updated time.Time) (time.Time, time.Time) {
	if created.IsZero() {
		created = now
	}
	if updated.Before(created) {
		updated = created
	}
	return created, updated
}
