package keep

import (
	"fmt"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
)

// TestGatheredRefusals checks that counted refusals are recorded after some
// seconds, and stay counted when their record can't be written.
func TestGatheredRefusals(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	g := newRefusals(2)
	rec := &audit.Record{Action: "secrets.read"}
	for i, want := range []bool{false, false, true, true, true} {
		if got := g.add(now, rec); got != want {
			t.Errorf("refusal %d is counted: %v, want %v", i+1, got, want)
		}
	}
	take := func(at time.Time, all bool) (records int, refusals uint64) {
		for _, c := range g.take(at, all) {
			records, refusals = records+1, refusals+c.count
		}
		return records, refusals
	}
	if records, n := take(now.Add(gatherTime-1), false); records != 0 {
		t.Errorf("%d refusals are recorded too soon", n)
	}
	due := g.take(now.Add(gatherTime), false)
	for kind, c := range due {
		g.giveBack(kind, c)
	}
	if records, n := take(now.Add(gatherTime), false); records != 1 || n != 3 {
		t.Errorf("%d refusals are in %d records, want 3 in one", n, records)
	}
	if g.add(now.Add(time.Minute), rec) {
		t.Error("after a minute no refusal is recorded by itself")
	}
	// However many kinds there are, the records are few.
	for i := range 10_000 {
		g.add(now, &audit.Record{Action: "secrets.read", Remote: fmt.Sprint(i)})
	}
	if records, n := take(now, true); n != 9_999 || records > maxGathered+1 {
		t.Errorf("%d refusals are counted in %d records", n, records)
	}
}
