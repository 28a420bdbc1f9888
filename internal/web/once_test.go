package web

import (
	"testing"
	"time"
)

// Forms that succeeded are remembered for ten minutes, the latest 10,000 of them. Forms
// that failed take no place among them, and can be sent again.
func TestOnceResults(t *testing.T) {
	now := time.Unix(0, 0)
	o := newOnceResults(func() time.Time { return now })
	send := func(n int, location string) (first bool) {
		t.Helper()
		r, first := o.begin(onceKey{byte(n >> 16), byte(n >> 8), byte(n)})
		if first {
			o.end(r, location)
		} else if r.location != location {
			t.Fatalf("form %d led to %q, want %q", n, r.location, location)
		}
		return first
	}
	send(0, "/done")
	for n := range 2 * onceLimit {
		for range 2 {
			if !send(1+n, "") {
				t.Fatal("a form that failed can't be sent again")
			}
		}
	}
	if send(0, "/done") {
		t.Error("failed forms displaced one that succeeded")
	}
	for n := range onceLimit {
		send(1+n, "/done")
	}
	if len(o.all) != onceLimit || len(o.order) != onceLimit || !send(0, "/done") {
		t.Errorf("%d forms are remembered, or the oldest one is", len(o.all))
	}
	now = now.Add(onceTime + 1)
	if !send(onceLimit, "/done") || len(o.all) != 1 {
		t.Errorf("%d forms are remembered for longer than %v", len(o.all), onceTime)
	}
}
