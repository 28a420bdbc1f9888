package keep_test

import (
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestIDsAreNoNames: nobody can give an organization a name that is taken for
// the ID of another, whether that other organization exists or not.
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

// TestImportedNameLikeAnID: an organization that InfluxDB allowed such a name
// keeps it, and only its own ID finds it.
func TestImportedNameLikeAnID(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.Vault)
	const unknown = keep.ID(0xfeeddeadbeef)
	name := strings.ToUpper(unknown.String())
	r := mustImport(t, k, keep.Import{Organizations: []keep.Organization{{ID: importOrg, Name: name}}})
	if m := r.Remarks[0]; m.Outcome != keep.ImportNew || !strings.Contains(m.Reason, "looks like an ID") {
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
	// It can be described, and renamed for good.
	description, better := "imported", "better"
	if _, err := k.UpdateOrganization(ctx, op, importOrg, keep.OrganizationUpdate{Name: &name, Description: &description}); err != nil {
		t.Error(err)
	}
	adopted := set("a", "1")
	adopted.Adopt = true
	taken := keep.OrganizationUpdate{Name: &name}
	if _, err := k.Change(ctx, op, unknown, adopted); err != nil { // names differ in case
		t.Error(err)
	}
	if _, err := k.UpdateOrganization(ctx, op, importOrg, keep.OrganizationUpdate{Name: &better}); err != nil {
		t.Error(err)
	}
	if _, err := k.UpdateOrganization(ctx, op, importOrg, taken); keep.CodeOf(err) != keep.CodeInvalid {
		t.Errorf("renamed back: %v", err)
	}
}

// TestAdoptionIsNotIntercepted: what is written to an organization that is yet
// to be adopted never reaches one that is named after its ID.
func TestAdoptionIsNotIntercepted(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	const unknown = keep.ID(0xfeeddeadbeef)
	mustImport(t, k, keep.Import{Organizations: []keep.Organization{{ID: importOrg, Name: unknown.String()}}})
	op := k.Operator(t, keep.Influxd)
	adopt := set("a", "1")
	adopt.Adopt = true
	id, err := k.ResolveOrganization(ctx, op, unknown.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Change(ctx, op, id, adopt); keep.CodeOf(err) != keep.CodeConflict || !strings.Contains(err.Error(), importOrg.String()) {
		t.Errorf("adopted under a taken name: %v", err)
	}
	name := "renamed"
	if _, err := k.UpdateOrganization(ctx, op, importOrg, keep.OrganizationUpdate{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Change(ctx, op, id, adopt); err != nil {
		t.Error(err)
	}
	if names, err := k.SecretNames(ctx, op, importOrg); err != nil || len(names) != 0 {
		t.Errorf("the other organization got %q, %v", names, err)
	}
	if orgs, err := k.Organizations(ctx, op, keep.OrganizationFilter{Name: unknown.String()}); err != nil || len(orgs) != 1 || orgs[0].ID != unknown {
		t.Errorf("found by its ID: %v, %v", orgs, err)
	}
}
