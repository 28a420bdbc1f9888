package keep_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestCompare: two versions differ by what happened between them, and a caller
// limited to some names sees only those.
func TestCompare(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.Web)
	compare := func(c keep.Caller, from, to uint64) (got keep.Comparison, version uint64, err error) {
		err = k.ViewSecrets(t.Context(), c, "secrets.history", k.Org, nil, func(s *keep.SecretsView) (err error) {
			got, version, err = s.Compare(from, to)
			return err
		})
		return got, version, err
	}
	first := k.MustChange(t, set("a", "1", "b", "1", "c", "1"))
	k.MustChange(t, set("a", "2", "d", "1"))
	k.MustChange(t, keep.Change{Remove: []string{"b"}})
	last := k.MustChange(t, keep.Change{Set: map[string]string{"e": "1"}, Remove: []string{"d"}})
	got, version, err := compare(op, first, 0)
	if want := (keep.Comparison{Added: []string{"e"}, Changed: []string{"a"}, Removed: []string{"b"}}); err != nil || version != last || !reflect.DeepEqual(got, want) {
		t.Errorf("since the first: %+v in version %d, %v; want %+v", got, version, err, want)
	}
	back, _, err := compare(op, last, first)
	if want := (keep.Comparison{Added: []string{"b"}, Changed: []string{"a"}, Removed: []string{"e"}}); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("back to the first: %+v, %v; want %+v", back, err, want)
	}
	if _, _, err := compare(op, last+1, 0); !errors.Is(err, keep.ErrVersionNotFound) {
		t.Errorf("a version that doesn't exist: %v", err)
	}
	limited := k.MustCaller(t, keep.Web, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"a", "d"}}).Value)
	got, _, err = compare(limited, first, 0)
	if want := (keep.Comparison{Changed: []string{"a"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("limited: %+v, %v; want %+v", got, err, want)
	}
	if _, _, err := compare(limited, first, last-1); !errors.Is(err, keep.ErrVersionNotFound) {
		t.Errorf("limited, a version that changed only other names: %v", err)
	}
	if err := k.DeleteVersions(t.Context(), op, k.Org, last); err != nil {
		t.Fatal(err)
	}
	got, _, err = compare(op, last, first)
	if err != nil || len(got.Added) != 3 || got.Changed != nil {
		t.Errorf("from a deleted version: %+v, %v", got, err)
	}
}

// TestRollbackFrom: a rollback fails if something changed after the caller looked.
func TestRollbackFrom(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.Web)
	first := k.MustChange(t, set("a", "1"))
	second := k.MustChange(t, set("a", "2"))
	third := k.MustChange(t, set("a", "3"))
	if _, err := k.RollbackFrom(t.Context(), op, k.Org, first, second); !errors.Is(err, keep.ErrCASMismatch) {
		t.Errorf("after a change: %v", err)
	}
	if _, err := k.RollbackFrom(t.Context(), op, k.Org, first, third); err != nil || k.MustValues(t)["a"] != "1" {
		t.Errorf("%v, %v", err, k.MustValues(t))
	}
}
