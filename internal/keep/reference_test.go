package keep_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

func reference(t *testing.T, k *keeptest.Kit, c keep.Caller, org keep.ID, name string) string {
	t.Helper()
	of, err := k.References(t.Context(), c, org)
	if err != nil {
		t.Fatal(err)
	}
	return of(name)
}

func TestReferences(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1", "b", "2", "gone", "3"))
	k.MustChange(t, keep.Change{Remove: []string{"gone"}})
	for _, name := range []string{"a", "b", "gone"} {
		ref := reference(t, k, op, k.Org, name)
		if b, err := base64.RawURLEncoding.DecodeString(ref); err != nil || len(b) != 12 {
			t.Errorf("the reference of %s is %q", name, ref)
		}
		if got, err := k.SecretName(t.Context(), op, k.Org, ref); got != name || err != nil {
			t.Errorf("the reference of %s is that of %q, %v", name, got, err)
		}
	}
	if n := len(outcomes(t, k, "secrets.find")); n != 0 {
		t.Errorf("%d audit records of references that were found", n)
	}

	other, err := k.CreateOrganization(t.Context(), op, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Change(t.Context(), op, other.ID, set("a", "1")); err != nil {
		t.Fatal(err)
	}
	a := reference(t, k, op, k.Org, "a")
	if a == reference(t, k, op, other.ID, "a") {
		t.Error("two organizations have the same reference of a name")
	}
	unknown := reference(t, k, op, k.Org, "never")
	for _, ref := range []string{"", "a", unknown, a + "AAAA", a[:15], a[:12], "====", strings.Repeat("A", 16), reference(t, k, op, other.ID, "a")} {
		if got, err := k.SecretName(t.Context(), op, k.Org, ref); !errors.Is(err, keep.ErrSecretNotFound) || got != "" {
			t.Errorf("reference %q: %q, %v", ref, got, err)
		}
	}
}

// References stay the same after a restart and a rotation of the data keys.
func TestReferencesStay(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.SaveKeys = func(context.Context, *seal.Keys) error { return nil }
	}})
	k.MustChange(t, set("a", "1"))
	before := reference(t, k, k.Operator(t, keep.InfluxDB), k.Org, "a")
	k.Reopen(t)
	op := k.Operator(t, keep.InfluxDB)
	if after := reference(t, k, op, k.Org, "a"); after != before {
		t.Errorf("the reference was %s and is %s after a restart", before, after)
	}
	if err := k.RotateKeys(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	for {
		s, err := k.KeyStatus(t.Context(), op)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Keys) == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	k.DropCaches()
	if after := reference(t, k, op, k.Org, "a"); after != before {
		t.Errorf("the reference was %s and is %s after a rotation", before, after)
	}
	if got, err := k.SecretName(t.Context(), op, k.Org, before); got != "a" || err != nil {
		t.Errorf("the old reference is that of %q, %v", got, err)
	}
}

// A caller without permission to read a secret can't find out that its reference exists.
func TestReferencesNeedRead(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, set("a", "1", "b", "2"))
	op := k.Operator(t, keep.InfluxDB)
	a, b, unknown := reference(t, k, op, k.Org, "a"), reference(t, k, op, k.Org, "b"), reference(t, k, op, k.Org, "never")

	limited := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"a"}}).Value)
	if got, err := k.SecretName(t.Context(), limited, k.Org, a); got != "a" || err != nil {
		t.Errorf("a token for this name: %q, %v", got, err)
	}
	writer := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: acl.Set{
		{Action: acl.Read, Resource: acl.Resource{Type: acl.Orgs, ID: k.Org}},
		{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: k.Org}},
	}}).Value)
	for name, c := range map[string]keep.Caller{"a token for another name": limited, "a token that only writes": writer, "nobody": keep.Anonymous(keeptest.Origin(keep.InfluxDB))} {
		_, exists := k.SecretName(t.Context(), c, k.Org, b)
		_, missing := k.SecretName(t.Context(), c, k.Org, unknown)
		if exists == nil || keep.CodeOf(exists) != keep.CodeOf(missing) || exists.Error() != missing.Error() {
			t.Errorf("%s: a reference that exists: %v, one that doesn't: %v", name, exists, missing)
		}
	}
	if of, err := k.References(t.Context(), writer, k.Org); of != nil || keep.CodeOf(err) != keep.CodeUnauthorized {
		t.Errorf("a token that only writes gets references: %v", err)
	}
	if got := outcomes(t, k, "secrets.find"); len(got) != 7 {
		t.Errorf("%d refusals are recorded", len(got))
	}
}
