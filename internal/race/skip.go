package race

import "testing"

// SkipSequential skips a long test that does one thing at a time when it runs with the
// race detector and -short: it would take many times as long, and find no race.
func SkipSequential(tb testing.TB) {
	tb.Helper()
	if Enabled && testing.Short() {
		tb.Skip("does one thing at a time; skipped with -race -short")
	}
}
