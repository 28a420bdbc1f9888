package keep_test

import (
	"context"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// TestOfflineAfterRotation lets another server end a rotation after the keys were loaded:
// Accept must write with the new ones, and the other tools must read with them.
func TestOfflineAfterRotation(t *testing.T) {
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
	shared := &keep.SharedKeys{Loaded: stored, Open: open}
	if err := keep.Accept(t.Context(), s, loaded, shared, 1); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []*seal.Keys{loaded, rotated} {
		r, err := keep.Check(t.Context(), s, keys, shared, func(d keep.Damage) { t.Errorf("%s: %v", d.What, d.Err) })
		if err != nil || r.Records == 0 {
			t.Errorf("%d records, %v", r.Records, err)
		}
	}
	at := audit.Checkpoint{Seq: 7}
	if err := record.New(s, rotated, time.Now).Update(t.Context(), func(w *record.Writer) error {
		return w.PutJSON(record.Key(record.TableCheckpoint, keep.ID(1)), at)
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := keep.AuditCheckpoint(t.Context(), s, loaded, shared, 1); err != nil || got != at {
		t.Errorf("checkpoint %v, %v", got, err)
	}
}
