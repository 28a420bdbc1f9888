package keep_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestIDsAreNoNames checks that no organization can get a name that looks like the ID of
// another, whether that organization exists or not.
func TestIDsAreNoNames(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	const unknown = keep.ID(0xfeeddeadbeef)
	for _, name := range []string{
		unknown.String(), strings.ToUpper(unknown.String()), " " + unknown.String() + "\t", k.Org.String(), keep.ID(0).String(),
	} {
		if _, err := k.CreateOrganization(ctx, op, name, ""); keep.CodeOf(err) != keep.CodeInvalid {
			t.Errorf("create %q: %v", name, err)
		}
		other, err := k.CreateOrganization(ctx, op, "other", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.UpdateOrganization(ctx, op, other.ID, keep.OrganizationUpdate{Name: &name}); keep.CodeOf(err) != keep.CodeInvalid {
			t.Errorf("rename to %q: %v", name, err)
		}
		if err := k.DeleteOrganization(ctx, op, other.ID); err != nil {
			t.Fatal(err)
		}
	}
	fresh := keeptest.New(t, &keeptest.Options{Fresh: true})
	q := keep.SetupRequest{User: "ann", Org: unknown.String(), Bucket: "b"}
	if _, err := fresh.Setup(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), q); keep.CodeOf(err) != keep.CodeInvalid {
		t.Errorf("set up: %v", err)
	}
}

// TestImportedNameLikeAnID checks that an imported organization with such a name keeps
// it, and is only found by its own ID.
func TestImportedNameLikeAnID(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.Vault)
	const unknown = keep.ID(0xfeeddeadbeef)
	name := strings.ToUpper(unknown.String())
	r := mustImport(t, k, keep.Import{Organizations: []keep.Organization{{ID: importOrg, Name: name}}})
	if m := r.Remarks[0]; m.Outcome != keep.ImportNew || !strings.Contains(m.Reason, "form of an ID") {
		t.Errorf("reported as %+v", m)
	}
	for _, ref := range []string{name, unknown.String()} {
		if id, err := k.ResolveOrganization(ctx, op, ref); id != unknown || err != nil {
			t.Errorf("%s means %s, %v", ref, id, err)
		}
	}
	for _, ref := range []string{name, " " + name} {
		if orgs, err := k.Organizations(ctx, op, keep.OrganizationFilter{Name: ref}); keep.CodeOf(err) != keep.CodeNotFound {
			t.Errorf("%q finds %v, %v", ref, orgs, err)
		}
		if tokens, err := k.Tokens(ctx, op, keep.TokenFilter{OrgName: ref}); keep.CodeOf(err) != keep.CodeNotFound {
			t.Errorf("%q finds %v, %v", ref, tokens, err)
		}
		if id, err := k.ResolveOrganization(ctx, op, ref); id == importOrg {
			t.Errorf("%q means %s, %v", ref, id, err)
		}
	}
	if orgs, err := k.Organizations(ctx, op, keep.OrganizationFilter{Name: importOrg.String()}); err != nil || len(orgs) != 1 || orgs[0].Name != name {
		t.Errorf("the ID finds %v, %v", orgs, err)
	}
	// It can get a description, and be renamed, but not renamed back.
	description, better := "imported", "better"
	if _, err := k.UpdateOrganization(ctx, op, importOrg, keep.OrganizationUpdate{Name: &name, Description: &description}); err != nil {
		t.Error(err)
	}
	adopted := set("a", "1")
	taken := keep.OrganizationUpdate{Name: &name}
	if _, err := k.ChangeOrAdopt(ctx, op, unknown, adopted); err != nil { // names are case-sensitive
		t.Error(err)
	}
	if _, err := k.UpdateOrganization(ctx, op, importOrg, keep.OrganizationUpdate{Name: &better}); err != nil {
		t.Error(err)
	}
	if _, err := k.UpdateOrganization(ctx, op, importOrg, taken); keep.CodeOf(err) != keep.CodeInvalid {
		t.Errorf("renamed back: %v", err)
	}
}

// TestAdoptionIsNotIntercepted checks that writes to an organization that is not adopted
// yet never reach one that is named after its ID.
func TestAdoptionIsNotIntercepted(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	const unknown = keep.ID(0xfeeddeadbeef)
	mustImport(t, k, keep.Import{Organizations: []keep.Organization{{ID: importOrg, Name: unknown.String()}}})
	op := k.Operator(t, keep.Influxd)
	adopt := set("a", "1")
	id, err := k.ResolveOrganization(ctx, op, unknown.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.ChangeOrAdopt(ctx, op, id, adopt); keep.CodeOf(err) != keep.CodeConflict || !strings.Contains(err.Error(), importOrg.String()) {
		t.Errorf("adopted under a taken name: %v", err)
	}
	name := "renamed"
	if _, err := k.UpdateOrganization(ctx, op, importOrg, keep.OrganizationUpdate{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ChangeOrAdopt(ctx, op, id, adopt); err != nil {
		t.Error(err)
	}
	if names, err := k.SecretNames(ctx, op, importOrg); err != nil || len(names) != 0 {
		t.Errorf("the other organization got %q, %v", names, err)
	}
	if orgs, err := k.Organizations(ctx, op, keep.OrganizationFilter{Name: unknown.String()}); err != nil || len(orgs) != 1 || orgs[0].ID != unknown {
		t.Errorf("found by its ID: %v, %v", orgs, err)
	}
}

// TestDotSegments checks that nothing can get a name that HTTP clients change in a path,
// and that imported names of this kind cause no problems.
func TestDotSegments(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.Influxd)
	bad := []string{".", "..", "a/..", "./a", "a/../b", "a/./b", "/.."}
	for _, name := range bad {
		replace := set(name, "v")
		replace.Replace = true
		for what, ch := range map[string]keep.Change{"set": set(name, "v"), "replace": replace} {
			if _, err := k.Change(ctx, op, k.Org, ch); keep.CodeOf(err) != keep.CodeInvalid {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
		if _, err := k.CreateOrganization(ctx, op, name, ""); keep.CodeOf(err) != keep.CodeInvalid {
			t.Errorf("create an organization %q: %v", name, err)
		}
		if _, err := k.UpdateOrganization(ctx, op, k.Org, keep.OrganizationUpdate{Name: &name}); keep.CodeOf(err) != keep.CodeInvalid {
			t.Errorf("rename an organization to %q: %v", name, err)
		}
	}
	k.MustChange(t, set("...", "v", ".a", "v", "a..b/c.", "v", "a//b/", "v"))

	imported := map[string]string{"..": "old", "a/../b": "old", "good": "old"}
	r := mustImport(t, k, keep.Import{
		Organizations: []keep.Organization{{ID: importOrg, Name: "a/../b"}},
		Secrets:       map[keep.ID]map[string]string{importOrg: imported},
	})
	told := map[string]int{}
	for _, m := range r.Remarks {
		if m.Kind == keep.ImportSecretKind && (m.Reason == "") != (m.Name == "") || m.Kind == keep.ImportOrganizationKind && m.Reason == "" {
			t.Errorf("reported as %+v", m)
		}
		told[m.Name] += m.Secrets
	}
	if want := map[string]int{"..": 1, "a/../b": 1, "": 1}; !maps.Equal(told, want) {
		t.Errorf("reported are %v, want %v", told, want)
	}
	if id, err := k.ResolveOrganization(ctx, op, "a/../b"); id != importOrg || err != nil {
		t.Errorf("the imported name finds %s, %v", id, err)
	}
	change := func(c keep.Caller, ch keep.Change) error {
		_, err := k.Change(ctx, c, importOrg, ch)
		return err
	}
	whole := keep.Change{Set: maps.Clone(imported), Replace: true}
	whole.Set["good"] = "new"
	if err := change(op, whole); err != nil {
		t.Errorf("a whole document with the imported names: %v", err)
	}
	whole.Set[".."] = "new"
	if err := change(op, whole); keep.CodeOf(err) != keep.CodeInvalid {
		t.Errorf("a new value: %v", err)
	}
	if err := change(op, set("..", "old")); keep.CodeOf(err) != keep.CodeInvalid {
		t.Errorf("set to what it is: %v", err)
	}
	// A caller without permission to read can't find out the value of such a secret.
	write := acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: importOrg}}
	writer := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Org: importOrg, Permissions: acl.Set{write}}).Value)
	if err := change(writer, keep.Change{Set: map[string]string{"..": "old"}, Replace: true}); keep.CodeOf(err) != keep.CodeInvalid {
		t.Errorf("a guess: %v", err)
	}
	if err := change(op, keep.Change{Remove: []string{"..", "a/../b"}}); err != nil {
		t.Error(err)
	}
	if names, err := k.SecretNames(ctx, op, importOrg); err != nil || len(names) != 1 {
		t.Errorf("left are %q, %v", names, err)
	}
}

// TestUserNames checks that a new user name can be used to sign in, and that imported
// names can stay.
func TestUserNames(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	for _, name := range []string{"a:b", ":", "a\nb", "\x7f"} {
		if _, err := k.CreateUser(ctx, op, name, true); keep.CodeOf(err) != keep.CodeInvalid {
			t.Errorf("create %q: %v", name, err)
		}
		if _, err := k.UpdateUser(ctx, op, k.Admin, keep.UserUpdate{Name: &name}); keep.CodeOf(err) != keep.CodeInvalid {
			t.Errorf("rename to %q: %v", name, err)
		}
	}
	name, active := "a:b", false
	report := mustImport(t, k, keep.Import{Users: []keep.ImportUser{{User: keep.User{ID: importAnn, Name: name, Active: true}}}})
	if r := report.Remarks[0]; r.Outcome != keep.ImportNew || !strings.HasSuffix(r.Reason, "; it can't sign in until you rename it") {
		t.Errorf("the import of %q remarks %+v", name, r)
	}
	if _, err := k.UpdateUser(ctx, op, importAnn, keep.UserUpdate{Name: &name, Active: &active}); err != nil {
		t.Error(err)
	}
}
