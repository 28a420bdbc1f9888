package keep_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestPruneInParts makes large versions, and then small ones. None of these
// does the work of a large one, and in the end nothing is left of those.
func TestPruneInParts(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		t.Run(fmt.Sprint("pinned=", pinned), func(t *testing.T) {
			const names, values, versions, changes = 2000, 's', 'v', 'c'
			k := keeptest.New(t, nil)
			op := k.Operator(t, keep.InfluxDB)
			for i := range 3 {
				ch := keep.Change{Set: map[string]string{}}
				for n := range names {
					ch.Set[fmt.Sprint("n", n)] = fmt.Sprint("value ", i)
				}
				k.MustChange(t, ch)
			}
			if pinned { // a write that drops all but two names, and then its undoing
				if _, err := k.Change(t.Context(), op, k.Org, keep.Change{Set: map[string]string{"n0": "x", "n1": "x"}, Replace: true, Guard: true}); err != nil {
					t.Fatal(err)
				}
			}
			for range keep.DefaultMaxVersions {
				k.MustChange(t, set("n0", k.Clock.Now().String()))
			}
			k.Clock.Advance(time.Hour)
			before, most := records(t, k, values), 0
			for range 100 {
				k.Clock.Advance(time.Minute)
				k.MustChange(t, set("n0", k.Clock.Now().String()))
				now := records(t, k, values)
				most = max(most, before-now)
				before = now
			}
			if most == 0 || most > 600 {
				t.Errorf("one write removed %d records", most)
			}
			if pinned {
				// What the pinned version shows is still there, until it is let go.
				if n := records(t, k, values); n < names {
					t.Errorf("%d records, the pinned version has %d", n, names)
				}
				d, err := k.Document(t.Context(), op, k.Org, 3)
				if err != nil || len(d.Secrets) != names || d.Secrets[1].Value != "value 2" {
					t.Errorf("the pinned version shows %d secrets, %v", len(d.Secrets), err)
				}
				if err := k.Dismiss(t.Context(), op, k.Org, 3); err != nil {
					t.Fatal(err)
				}
				k.Clock.Advance(time.Minute)
				k.MustChange(t, set("n0", "end"))
				if n := records(t, k, values); n > 2+keep.DefaultMaxVersions {
					t.Errorf("%d records are left", n)
				}
			} else if n := records(t, k, values); n > names+keep.DefaultMaxVersions {
				t.Errorf("%d records are left for %d names", n, names)
			}
			if v, c := records(t, k, versions), records(t, k, changes); v > keep.DefaultMaxVersions || c > 0 {
				t.Errorf("%d version records and %d with changes are left", v, c)
			}
			if report, err := keep.Check(t.Context(), k.Store(), k.Keys(), func(d keep.Damage) { t.Errorf("%s: %v", d.What, d.Err) }); err != nil {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// TestPruneWhileBusy makes small versions one soon after the other. What is
// kept of them is bounded, and goes with the first write after a pause.
func TestPruneWhileBusy(t *testing.T) {
	const kept, mergeable, pruned = keep.DefaultMaxVersions, 64, 16
	k := keeptest.New(t, nil)
	for i := range 300 {
		k.Clock.Advance(time.Millisecond)
		k.MustChange(t, set("n", fmt.Sprint(i)))
		if v, s := records(t, k, 'v'), records(t, k, 's'); v > kept+mergeable+pruned || s > v {
			t.Fatalf("%d version records and %d with values after %d writes", v, s, i+1)
		}
	}
	if v := records(t, k, 'v'); v < kept+mergeable {
		t.Errorf("%d version records: of these writes, none can be merged with the oldest", v)
	}
	k.Clock.Advance(time.Minute)
	k.MustChange(t, set("n", "end"))
	if v, s := records(t, k, 'v'), records(t, k, 's'); v != kept || s != kept {
		t.Errorf("%d version records and %d with values are left", v, s)
	}
}
