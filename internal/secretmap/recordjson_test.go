package secretmap

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// TestRecordsAsJSON compares hand-encoded records with those of encoding/json.
func TestRecordsAsJSON(t *testing.T) {
	times := []time.Time{{}, time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", 3600))}
	names := []string{"plain", "", "a \"quote\"", "back\\slash", "<&>", "line\u2028", "tab\t", "ä€😀", "bad\xff", "\x7f", "\x00"}
	compare := func(got []byte, v any) bool {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		return string(got) == string(want)
	}
	check := func(seed uint64) bool {
		r := rand.New(rand.NewPCG(seed, 1))
		number := func() uint64 { return []uint64{0, 1, 12, math.MaxUint64}[r.IntN(4)] }
		h := headRecord{
			Map: ID(number()), Current: number(), Oldest: number(), Full: r.IntN(2) == 0, Floor: number(), Swept: number(), SweptParts: uint32(number()),
			Large: number(), Count: int(number()), StateRevision: number(), Sparse: number(), Created: times[r.IntN(3)], Updated: times[r.IntN(3)], ByID: r.IntN(2) == 0,
			Sums: record.MapSums{Secrets: record.Sum{byte(number())}, History: record.Sum{1, byte(number())}},
		}
		v := versionRecord{
			Time: times[r.IntN(3)], User: ID(number()), Token: ID(number()), Protocol: Protocol(names[r.IntN(len(names))]),
			From: number(), Merged: number(), Count: int(number()), Chunks: uint32(number()),
		}
		for range r.IntN(4) {
			v.Changes = append(v.Changes, change{Name: names[r.IntN(len(names))], Op: []op{opAdd, opChange, opRemove, opMask}[r.IntN(4)], Before: number(), Earlier: number()})
		}
		return compare(h.appendJSON(nil), &h) && compare(v.appendJSON(nil), &v)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	// A new field must be encoded by hand too.
	if n, m := reflect.TypeFor[headRecord]().NumField(), reflect.TypeFor[versionRecord]().NumField(); n != 15 || m != 9 {
		t.Errorf("the records have %d and %d fields", n, m)
	}
}
