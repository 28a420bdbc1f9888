package keep_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestChildrenAreLimited: at most so many login tokens that depend on one token are
// valid at a time, however they are nested.
func TestChildrenAreLimited(t *testing.T) {
	k := keeptest.New(t, nil)
	k.LimitChildren(3)
	ctx := t.Context()
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	c := k.MustCaller(t, keep.Vault, token.Value)
	create := func(c keep.Caller, length time.Duration) (keep.Login, error) {
		return k.CreateChild(ctx, c, keep.Child{Length: length})
	}
	full := func(c keep.Caller) {
		t.Helper()
		if _, err := create(c, time.Hour); err == nil || !strings.HasPrefix(err.Error(), "3 child tokens of this token are valid") {
			t.Errorf("one too many: %v", err)
		}
	}
	first, err := create(c, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	nested := k.MustCaller(t, keep.Vault, first.Value)
	for range 2 {
		if _, err := create(nested, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	full(c)
	full(nested)
	k.RecountChildren()
	full(nested)

	other := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)}).Value)
	if _, err := create(other, time.Hour); err != nil {
		t.Errorf("another token's child: %v", err)
	}

	k.Clock.Advance(2 * time.Minute)
	k.RecountChildren()
	if _, err := create(c, time.Hour); err != nil {
		t.Errorf("after two have expired: %v", err)
	}
}
