package keep_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"

	"golang.org/x/crypto/bcrypt"
)

// nextSource is source later: one token was revoked and another deactivated, a password
// and a secret changed, and a member, a user and a secret were deleted.
func nextSource(t *testing.T, in keep.Import) keep.Import {
	t.Helper()
	password, err := bcrypt.GenerateFromPassword([]byte("another password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	in.Users = []keep.ImportUser{in.Users[0]}
	in.Users[0].Password = password
	in.Members = in.Members[:1]
	in.Tokens = append([]keep.ImportToken{}, in.Tokens[0], in.Tokens[1], in.Tokens[3])
	in.Tokens[1].Active = false
	in.Secrets = map[keep.ID]map[string]string{
		importOrg: {"canary-a": "canary-value-9", "canary-b": "", "with/slash": "canary-value-2"},
	}
	return in
}

func pastSource(t *testing.T) keep.Import {
	in := source(t)
	in.Source = 0xd1
	return in
}

// opens reports whether a token is known and active.
func opens(t *testing.T, k *keeptest.Kit, token string) bool {
	t.Helper()
	c, err := k.Authenticate(t.Context(), keeptest.Origin(keep.InfluxDB), token)
	if errors.Is(err, keep.ErrUnauthenticated) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.Permissions() != nil
}

const (
	pastAll   = "member 2 new, organization 2 new, secret 4 new, token 4 new, user 2 new"
	pastSame  = "member 2 unchanged, organization 2 unchanged, secret 4 unchanged, token 4 unchanged, user 2 unchanged"
	pastTold  = "member 1 gone 1 unchanged, organization 2 unchanged, secret 1 changed 1 gone 2 unchanged, token 1 changed 1 gone 2 unchanged, user 1 changed 1 gone"
	pastTaken = "member 1 removed 1 unchanged, organization 2 unchanged, secret 1 removed 2 unchanged 1 updated, token 1 removed 2 unchanged 1 updated, user 1 removed 1 updated"
)

// TestImportFollows checks that changes at the other server since the last import are
// reported, and applied only by an update.
func TestImportFollows(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Fresh: true})
	first := pastSource(t)
	first.Users[1].Active = true
	if r := mustImport(t, k, first); counts(r) != pastAll {
		t.Fatalf("imported %s", counts(r))
	}
	next := nextSource(t, first)
	for range 2 {
		if r := mustPlan(t, k, next); counts(r) != pastTold {
			t.Errorf("planned %s\nwant    %s", counts(r), pastTold)
		}
		if r := mustImport(t, k, next); counts(r) != pastTold || r.Applied() != 0 {
			t.Errorf("imported %s\nwant     %s", counts(r), pastTold)
		}
	}
	if r := mustImport(t, k, first); counts(r) != pastSame {
		t.Errorf("a change was reported and applied: %s", counts(r))
	}

	next.Update = true
	if r := mustPlan(t, k, next); counts(r) != pastTaken {
		t.Errorf("planned %s\nwant    %s", counts(r), pastTaken)
	}
	if r := mustImport(t, k, next); counts(r) != pastTaken {
		t.Errorf("imported %s\nwant     %s", counts(r), pastTaken)
	}
	if r := mustImport(t, k, next); r.Applied() != 0 || len(left(r)) != 0 {
		t.Errorf("a second time: %s, %+v", counts(r), left(r))
	}
	for token, want := range map[string]bool{"canary-token-plain": true, "canary-token-256": false, "canary-token-512": false} {
		if got := opens(t, k, token); got != want {
			t.Errorf("%s opens: %t", token, got)
		}
	}
	stranger := keep.Anonymous(keeptest.Origin(keep.InfluxDB))
	if _, err := k.SignIn(t.Context(), stranger, "canary-ann", annPassword); err == nil {
		t.Error("the old password still works")
	}
	if _, err := k.SignIn(t.Context(), stranger, "canary-ann", "another password"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	op := k.MustCaller(t, keep.InfluxDB, "canary-token-plain")
	for org, want := range map[keep.ID]map[string]string{importOrg: next.Secrets[importOrg], importOther: {}} {
		if d, err := k.Document(t.Context(), op, org, 0); err != nil || !maps.Equal(keeptest.Map(d.Secrets), want) {
			t.Errorf("secrets of %s: %v, %v", org, keeptest.Map(d.Secrets), err)
		}
	}
	if u, err := k.User(t.Context(), op, importBob); err != nil || u.Active {
		t.Errorf("the deleted user: %+v, %v", u, err)
	}
}

// TestImportKeepsDeletions checks that objects deleted here are restored only on
// request.
func TestImportKeepsDeletions(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Fresh: true})
	in := pastSource(t)
	mustImport(t, k, in)
	op := k.MustCaller(t, keep.InfluxDB, "canary-token-plain")
	if _, err := k.Change(t.Context(), op, importOrg, keep.Change{Remove: []string{"canary-a"}}); err != nil {
		t.Fatal(err)
	}
	if err := k.DeleteToken(t.Context(), op, importShort); err != nil {
		t.Fatal(err)
	}
	for _, update := range []bool{false, true} {
		in.Update = update
		r := mustImport(t, k, in)
		if r.Applied() != 0 || r.Counts["secret"][keep.ImportDeleted] != 1 || r.Counts["token"][keep.ImportDeleted] != 1 {
			t.Errorf("imported %s", counts(r))
		}
	}
	if opens(t, k, "canary-token-256") {
		t.Error("the deleted token is back")
	}
	in.RestoreDeleted = true
	if r := mustImport(t, k, in); r.Applied() != 2 {
		t.Errorf("restored %s", counts(r))
	}
	checkAll(t, k, in)
}

func checkAll(t *testing.T, k *keeptest.Kit, in keep.Import) {
	t.Helper()
	if same, err := k.CompareSecrets(t.Context(), keep.Offline(), in); err != nil || same != (keep.ImportComparison{Equal: 4}) {
		t.Errorf("compared: %+v, %v", same, err)
	}
	if !opens(t, k, "canary-token-256") {
		t.Error("the token does not work")
	}
}

// TestImportSeesOnlyItsSource checks that nothing counts as deleted because it is missing
// from another server, from a partial file, or from an import of other kinds.
func TestImportSeesOnlyItsSource(t *testing.T) {
	for name, change := range map[string]func(*keep.Import){
		"another server":  func(in *keep.Import) { in.Source = 0xd2 },
		"unknown":         func(in *keep.Import) { in.Source = 0 },
		"partial":         func(in *keep.Import) { in.Partial = true },
		"of another kind": func(in *keep.Import) { in.Kinds = []string{keep.ImportOrganizationKind} },
	} {
		t.Run(name, func(t *testing.T) {
			k := keeptest.New(t, &keeptest.Options{Fresh: true})
			in := pastSource(t)
			mustImport(t, k, in)
			later := keep.Import{Organizations: in.Organizations, Source: in.Source, Update: true}
			change(&later)
			if r := mustImport(t, k, later); r.Applied() != 0 || len(left(r)) != 0 {
				t.Errorf("imported %s, %+v", counts(r), left(r))
			}
			checkAll(t, k, in)
		})
	}
}
