package server

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuditLogWarnings checks that the server warns about problems with an audit log
// that is writable.
func TestAuditLogWarnings(t *testing.T) {
	health := func(s *testServer) string {
		t.Helper()
		a := s.do(t, "GET", "/health", "")
		if a.status != http.StatusOK {
			t.Fatalf("the health is %d: %s", a.status, a.body)
		}
		return string(a.body)
	}
	t.Run("nothing is recorded", func(t *testing.T) {
		s := start(t, filepath.Join(t.TempDir(), "data"), "--audit-log="+os.DevNull)
		if got := health(s); !strings.Contains(got, "no access is recorded") {
			t.Errorf("the health is %s", got)
		}
		s.stop(t)
		if !strings.Contains(s.log.String(), "audit log discards") {
			t.Error("the log does not say so")
		}
	})
	t.Run("removed", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		s := start(t, dir)
		s.setUp(t)
		if got := health(s); strings.Contains(got, "warn") {
			t.Errorf("the health is %s", got)
		}
		remove(t, filepath.Join(dir, "audit.log"))
		eventually(t, "warning", func() bool { return strings.Contains(health(s), "was removed while") })
		s.stop(t)
	})
	t.Run("missing at start", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		s := start(t, dir)
		s.setUp(t)
		s.stop(t)
		remove(t, filepath.Join(dir, "audit.log"))
		s = start(t, dir)
		defer s.stop(t)
		if got := health(s); !strings.Contains(got, "missing or empty at start") {
			t.Errorf("the health is %s", got)
		}
	})
}
