package keep

import (
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// TestKnownAddressWaits checks that wrong attempts by others at an address from which
// a user has signed in before delay that user's next attempt, but don't refuse it.
func TestKnownAddressWaits(t *testing.T) {
	now := time.Unix(0, 0)
	l := newAttemptLimiter()
	a := attempt{record.Hash{1}, "192.0.2.1"}
	if _, known, ok := l.take(now, a); known || !ok {
		t.Fatal("the first attempt")
	}
	l.succeeded(now, a)
	for i := range addressAttempts + 10 { // for other users
		l.take(now, attempt{record.Hash{2, byte(i)}, a.address})
	}
	if _, _, ok := l.take(now, attempt{record.Hash{3}, a.address}); ok {
		t.Error("the address has attempts left for others")
	}
	for i := range subjectAttempts {
		if wait, known, ok := l.take(now, a); wait != 0 || !known || !ok {
			t.Fatalf("attempt %d: %v, %v", i, wait, ok)
		}
	}
	for i := range int(maxTurn / subjectPace) {
		want := time.Duration(i+1) * subjectPace
		if wait, _, ok := l.take(now, a); wait != want || !ok {
			t.Errorf("it waits %v, %v, want %v", wait, ok, want)
		}
	}
	if wait, _, ok := l.take(now, a); ok || wait != subjectPace {
		t.Errorf("with many attempts before it: %v, %v", wait, ok)
	}
	if wait, _, ok := l.take(now.Add(subjectPace), a); !ok || wait != maxTurn {
		t.Errorf("later: %v, %v", wait, ok)
	}
}
