package keep_test

import (
	"context"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// TestAcceptAfterRotation lets another server end a rotation after the keys were loaded:
// what Accept writes must open with the new ones.
func TestAcceptAfterRotation(t *testing.T) {
	s, err := pebblestore.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stored, err := record.CreateKeyset(t.Context(), s, []byte("wrapped"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, rotated := recordtest.New(t).Keys(), recordtest.New(t).Keys()
	if err := record.ReplaceKeyset(t.Context(), s, stored, stored.Next([]byte("rotated"))); err != nil {
		t.Fatal(err)
	}
	open := func(context.Context, []byte) (*seal.Keys, error) { return rotated, nil }
	if err := keep.Accept(t.Context(), s, loaded, open, 1); err != nil {
		t.Fatal(err)
	}
	r, err := keep.Check(t.Context(), s, rotated, func(d keep.Damage) { t.Errorf("%s: %v", d.What, d.Err) })
	if err != nil || r.Records == 0 {
		t.Errorf("%d records, %v", r.Records, err)
	}
}
