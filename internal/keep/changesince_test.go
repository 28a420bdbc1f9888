package keep_test

import (
	"errors"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestChangeSince: a change fails only if one of its own names has changed since.
func TestChangeSince(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.Web)
	first := k.MustChange(t, set("a", "1", "b", "1"))
	k.MustChange(t, set("b", "2"))
	third := k.MustChange(t, keep.Change{Set: map[string]string{"c": "1"}, Remove: []string{"d"}})
	last := k.MustChange(t, keep.Change{Remove: []string{"c"}})
	for _, tt := range []struct {
		name   string
		change keep.Change
		since  uint64
		want   error
	}{
		{"an unchanged name", set("a", "2"), last, nil},
		{"another name changed", set("a", "3"), last + 1, nil},
		{"changed since", set("b", "3"), first, keep.ErrSecretChanged},
		{"removed though changed since", keep.Change{Remove: []string{"b"}}, first, keep.ErrSecretChanged},
		{"one of two changed since", set("a", "4", "b", "4"), last + 1, keep.ErrSecretChanged},
		{"removed since", set("c", "2"), third, keep.ErrSecretChanged},
		{"a new name", set("e", "1"), 0, nil},
		{"a name that was removed, as a new one", set("c", "3"), 0, nil},
		{"a name that exists, as a new one", set("b", "5"), 0, keep.ErrSecretChanged},
	} {
		if _, err := k.ChangeSince(t.Context(), op, k.Org, tt.change, tt.since); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if got := k.MustValues(t); got["a"] != "3" || got["b"] != "2" || got["c"] != "3" {
		t.Errorf("the secrets are %v", got)
	}
	write := keeptest.WriteSecrets(k.Org)
	blind := k.MustCaller(t, keep.Web, k.MustToken(t, keep.NewToken{Permissions: write[2:]}).Value)
	if _, err := k.ChangeSince(t.Context(), blind, k.Org, set("b", "6"), 0); err != nil {
		t.Errorf("a caller without read permission learns that a name exists: %v", err)
	}
}
