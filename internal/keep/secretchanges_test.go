package keep_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// brief says what matters of changes: the name or version, the author, and what
// became of the secret.
func brief(changes []keep.SecretChange) (out []string) {
	for _, c := range changes {
		s := fmt.Sprintf("%s %d by %s with %s", c.Name, c.Version, c.UserName, c.Description)
		if c.Removed {
			s += ", removed"
		}
		if c.Hidden {
			s += ", hidden"
		}
		out = append(out, s)
	}
	return out
}

// TestSecretChanges: after many changes of one secret, it is still known who set
// another, and its earlier values are still there.
func TestSecretChanges(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx, op := t.Context(), k.Operator(t, keep.InfluxDB)
	deploy := k.MustToken(t, keep.NewToken{Description: "deploy", Permissions: slices.Concat(keeptest.ReadSecrets(k.Org), keeptest.WriteSecrets(k.Org))})
	author := k.MustCaller(t, keep.Influxd, deploy.Value)
	write := func(c keep.Caller, ch keep.Change) {
		t.Helper()
		if _, err := k.Change(ctx, c, k.Org, ch); err != nil {
			t.Fatal(err)
		}
	}
	write(author, set("db_password", "first"))
	write(author, set("db_password", "second", "db_user", "fluxkeep"))
	for i := range 25 {
		write(op, set("counter", fmt.Sprint(i)))
	}
	list, total, err := k.SecretChanges(ctx, op, k.Org, keep.SecretFilter{ByChange: true, Page: keep.Page{Descending: true, Limit: 2}})
	want := []string{"counter 27 by admin with " + list[0].Description, "db_user 2 by admin with deploy"}
	if err != nil || total != 3 || !slices.Equal(brief(list), want) {
		t.Errorf("the list has %d, %q, %v; want %q", total, brief(list), err, want)
	}
	if last := list[1]; last.Author.User != k.Admin || last.Author.Token != deploy.ID || last.Author.Protocol != keep.Influxd || last.Time.IsZero() {
		t.Errorf("the last change is %+v", last)
	}
	if list, total, err = k.SecretChanges(ctx, op, k.Org, keep.SecretFilter{Pattern: "db_*", Page: keep.Page{Offset: 1}}); err != nil || total != 2 || len(list) != 1 || list[0].Name != "db_user" {
		t.Errorf("the filtered list has %d, %q, %v", total, brief(list), err)
	}

	history, err := k.SecretHistory(ctx, op, k.Org, "db_password")
	if want := []string{"db_password 2 by admin with deploy", "db_password 1 by admin with deploy"}; err != nil || !slices.Equal(brief(history), want) {
		t.Errorf("the history is %q, %v; want %q", brief(history), err, want)
	}
	if history, err = k.SecretHistory(ctx, op, k.Org, "counter"); err != nil || len(history) != 10 || history[9].Version != 18 {
		t.Errorf("the history of the counter is %q, %v", brief(history), err)
	}
	for _, x := range []struct {
		version uint64
		want    string
	}{{1, "[{db_password first 1}]"}, {2, "[{db_password second 2}]"}, {10, "[]"}, {20, "[{db_password second 2}]"}, {99, "[]"}} {
		got, err := k.ValuesAt(ctx, op, k.Org, []string{"db_password", "nope"}, x.version)
		if fmt.Sprint(got) != x.want || err != nil {
			t.Errorf("in version %d: %v, %v; want %s", x.version, got, err, x.want)
		}
	}
	if _, err := k.ValuesAt(ctx, op, k.Org, nil, 2); !errors.Is(err, keep.ErrVersionNotFound) {
		t.Errorf("all values of a version that no longer exists: %v", err)
	}
	if got, err := k.ValuesAt(ctx, op, k.Org, nil, 20); len(got) != 3 || err != nil {
		t.Errorf("all values of version 20: %v, %v", got, err)
	}

	w, err := k.RollbackSecret(ctx, op, k.Org, "db_password", 1)
	if err != nil || w.Version.Number != 28 || k.MustValues(t)["db_password"] != "first" || k.MustValues(t)["counter"] != "24" {
		t.Errorf("rolled back: %+v, %v; %v", w, err, k.MustValues(t))
	}
	if w, err = k.RollbackSecret(ctx, op, k.Org, "db_password", 1); err != nil || w.Changed {
		t.Errorf("rolled back again: %+v, %v", w, err)
	}
	for _, since := range []uint64{0, 27} {
		if _, err := k.RollbackSecretSince(ctx, op, k.Org, "db_password", 2, since); !errors.Is(err, keep.ErrSecretChanged) {
			t.Errorf("rolled back what has changed since version %d: %v", since, err)
		}
	}
	if w, err = k.RollbackSecretSince(ctx, op, k.Org, "db_password", 1, 28); err != nil || w.Changed {
		t.Errorf("rolled back as seen: %+v, %v", w, err)
	}
	for name, version := range map[string]uint64{"db_password": 10, "db_user": 1, "nope": 2} {
		if _, err := k.RollbackSecret(ctx, op, k.Org, name, version); !errors.Is(err, keep.ErrVersionNotFound) {
			t.Errorf("%s rolled back to %d: %v", name, version, err)
		}
	}

	// What a version had is destroyed in the secret's own history too.
	if err := k.DestroyVersions(ctx, op, k.Org, 5); err != nil {
		t.Fatal(err)
	}
	if history, err = k.SecretHistory(ctx, op, k.Org, "db_password"); err != nil || len(history) != 3 {
		t.Errorf("a version shows the value: %q, %v", brief(history), err)
	}
	if err := k.DestroyVersions(ctx, op, k.Org, 1); err != nil {
		t.Fatal(err)
	}
	if got, err := k.ValuesAt(ctx, op, k.Org, []string{"db_password"}, 1); len(got) > 0 || err != nil {
		t.Errorf("after destroying version 1: %v, %v", got, err)
	}

	write(op, keep.Change{Remove: []string{"db_user"}})
	if history, err = k.SecretHistory(ctx, op, k.Org, "db_user"); err != nil || len(history) != 2 || !history[0].Removed {
		t.Errorf("after removal: %q, %v", brief(history), err)
	}
	for i := range 12 {
		write(op, set("counter", fmt.Sprint("again ", i)))
	}
	if _, err = k.SecretHistory(ctx, op, k.Org, "db_user"); !errors.Is(err, keep.ErrSecretNotFound) {
		t.Errorf("long after removal: %v", err)
	}
}

// TestSecretChangesAreLimited: whoever may not read the secrets learns nothing from
// their changes, and a token for some names nothing of others.
func TestSecretChangesAreLimited(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	both := slices.Concat(keeptest.ReadSecrets(k.Org), keeptest.WriteSecrets(k.Org))
	limited := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: both, Names: []string{"a*"}}).Value)
	k.MustChange(t, set("a1", "1", "b1", "2"))
	k.MustChange(t, set("b1", "3"))
	if _, err := k.Change(ctx, limited, k.Org, set("a2", "4")); err != nil {
		t.Fatal(err)
	}
	list, total, err := k.SecretChanges(ctx, limited, k.Org, keep.SecretFilter{})
	if err != nil || total != 2 || len(list) != 2 || list[0].Author.User != 0 || list[1].Author.User != k.Admin {
		t.Errorf("the list has %d, %+v, %v", total, list, err)
	}
	if history, err := k.SecretHistory(ctx, limited, k.Org, "a1"); err != nil || len(history) != 1 || history[0].Author.Token != 0 {
		t.Errorf("the history is %+v, %v", history, err)
	}
	if _, err := k.SecretHistory(ctx, limited, k.Org, "b1"); !errors.Is(err, keep.ErrSecretNotFound) {
		t.Errorf("the history of a hidden secret: %v", err)
	}
	for _, version := range []uint64{1, 2, 3, 4} {
		got, err := k.ValuesAt(ctx, limited, k.Org, []string{"a1", "b1"}, version)
		if want := version == 1 || version == 3; err != nil || len(got) > 1 || (len(got) == 1) != want {
			t.Errorf("in version %d: %v, %v", version, got, err)
		}
	}
	if _, err := k.RollbackSecret(ctx, limited, k.Org, "b1", 1); keep.CodeOf(err) != keep.CodeForbidden {
		t.Errorf("a hidden secret is rolled back: %v", err)
	}
	if w, err := k.RollbackSecret(ctx, limited, k.Org, "a1", 1); err != nil || w.Changed {
		t.Errorf("rolled back: %+v, %v", w, err)
	}

	writer := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: acl.Set{{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: k.Org}}}}).Value)
	before := len(outcomes(t, k, "secrets.list"))
	if _, _, err := k.SecretChanges(ctx, writer, k.Org, keep.SecretFilter{}); err == nil {
		t.Error("a writer lists the changes")
	}
	if got := outcomes(t, k, "secrets.list"); len(got) != before+1 {
		t.Errorf("%d refusals are recorded", len(got)-before)
	}
	if _, err := k.SecretHistory(ctx, writer, k.Org, "a1"); err == nil {
		t.Error("a writer reads the history")
	}
	if _, err := k.ValuesAt(ctx, writer, k.Org, []string{"a1"}, 1); err == nil {
		t.Error("a writer reads a value")
	}
	if _, err := k.RollbackSecret(ctx, writer, k.Org, "a1", 1); err == nil {
		t.Error("a writer rolls back")
	}
	// Who may read the secrets but neither users nor tokens learns no names.
	reader := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: acl.Set{{Action: acl.Read, Resource: acl.Resource{Type: acl.Secrets, OrgID: k.Org}}}}).Value)
	list, _, err = k.SecretChanges(ctx, reader, k.Org, keep.SecretFilter{})
	if err != nil || len(list) != 3 {
		t.Errorf("a reader lists %+v, %v", list, err)
	}
	for _, c := range list {
		if c.Author.User != k.Admin || c.UserName != "" || c.Description != "" {
			t.Errorf("a reader learns %+v", c)
		}
	}
}
