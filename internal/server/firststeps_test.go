package server

import (
	"strings"
	"testing"
)

// TestFirstSteps: once the server is set up, nobody is told to store a secret with a
// profile that may be another server's.
func TestFirstSteps(t *testing.T) {
	ts := start(t, t.TempDir())
	if got := ts.firstSteps(t.Context()); !strings.Contains(got, "Next: set it up at http://localhost:") {
		t.Errorf("a new server says %q", got)
	}
	ts.setUp(t)
	got := ts.firstSteps(t.Context())
	if !strings.Contains(got, "Next: sign in at http://localhost:") || !strings.Contains(got, "fluxkeep status\n") || strings.Contains(got, "set it up") || strings.Contains(got, "secret set") {
		t.Errorf("a server that is set up says %q", got)
	}
}
