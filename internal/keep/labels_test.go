package keep_test

import (
	"errors"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestLabels: callers learn their own names, and an organization's if they may read it
// or its secrets.
func TestLabels(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	token := func(p acl.Set) keep.Caller {
		t.Helper()
		return k.MustCaller(t, keep.Web, k.MustToken(t, keep.NewToken{Permissions: p, Description: "ci"}).Value)
	}
	write := keeptest.WriteSecrets(k.Org)
	other, err := k.CreateOrganization(ctx, k.Operator(t, keep.Web), "other", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		caller keep.Caller
		org    keep.ID
		want   keep.Labels
		err    error
	}{
		{"no organization", token(write), 0, keep.Labels{User: "admin", Token: "ci"}, nil},
		{"one that it reads", token(write[:1]), k.Org, keep.Labels{User: "admin", Token: "ci", Organization: "acme"}, nil},
		{"one whose secrets it reads", token(write[1:2]), k.Org, keep.Labels{User: "admin", Token: "ci", Organization: "acme"}, nil},
		{"one whose secrets it writes", token(write[2:]), k.Org, keep.Labels{User: "admin", Token: "ci", Organization: "acme"}, nil},
		{"another one", token(write), other.ID, keep.Labels{}, keep.ErrOrganizationNotFound},
		{"one that doesn't exist", token(write), acl.NewID(), keep.Labels{}, keep.ErrOrganizationNotFound},
		{"one that doesn't exist, by an operator", k.Operator(t, keep.Web), acl.NewID(), keep.Labels{}, keep.ErrOrganizationNotFound},
	} {
		if got, err := k.Labels(ctx, c.caller, c.org); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, got, err, c.want, c.err)
		}
	}
	if err := k.CheckWrite(ctx, token(write[:2]), k.Org); keep.CodeOf(err) != keep.CodeUnauthorized {
		t.Errorf("a reader may write: %v", err)
	}
	if err := k.CheckWrite(ctx, token(write[2:]), k.Org); err != nil {
		t.Errorf("a writer may not write: %v", err)
	}
}
