package keep

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
)

// TestGatheredRefusals checks that counted refusals are recorded after some seconds,
// and stay counted if their record can't be written.
func TestGatheredRefusals(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	g := newRefusals(2)
	rec := &audit.Record{Action: "secrets.read", Stranger: true}
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
	for _, c := range due {
		g.giveBack(c)
	}
	if records, n := take(now.Add(gatherTime), false); records != 1 || n != 3 {
		t.Errorf("%d refusals are in %d records, want 3 in one", n, records)
	}
	if g.add(now.Add(time.Minute), rec) {
		t.Error("after a minute no refusal is recorded by itself")
	}
	// The number of records is small, however many kinds there are.
	for i := range 10_000 {
		g.add(now, &audit.Record{Action: "secrets.read", Remote: fmt.Sprint(i), Stranger: true})
	}
	if records, n := take(now, true); n != 9_999 || records > maxGathered+1 {
		t.Errorf("%d refusals are counted in %d records", n, records)
	}
}

// TestGatheredByToken checks that strangers and other tokens don't use up a token's own
// records, and that an idle token takes no memory.
func TestGatheredByToken(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	g := newRefusals(1)
	for _, rec := range []*audit.Record{
		{Stranger: true},
		{User: "1", Token: "1", Stranger: true},
		{User: "1", Token: "1"},
		{User: "1", Token: "2"},
	} {
		first := rec.Token != "1" || !rec.Stranger
		for i := range 100 {
			rec.Remote, rec.Organization = fmt.Sprint(i), "a"
			if counted := g.add(now, rec); counted == (first && i == 0) {
				t.Errorf("%+v: refusal %d is counted: %v", rec, i+1, counted)
			}
		}
	}
	counts := make(map[requester]uint64)
	for _, c := range g.take(now, true) {
		counts[c.requester] += c.count
		if c.action == gatheredRest && (c.refusal.user != c.requester.user || c.refusal.token != c.requester.token) {
			t.Errorf("the rest of %v is counted for %q and %q", c.requester, c.refusal.user, c.refusal.token)
		}
	}
	want := map[requester]uint64{{}: 199, {"1", "1"}: 99, {"1", "2"}: 99}
	if !maps.Equal(counts, want) {
		t.Errorf("counted %v, want %v", counts, want)
	}
	if g.take(now.Add(time.Hour), false); len(g.by) != 0 {
		t.Errorf("%d requesters are remembered after an hour", len(g.by))
	}
}
