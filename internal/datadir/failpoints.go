//go:build failpoints

package datadir

import (
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/failpoint"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// faults lets a test kill the process, or make operations fail, at named points.
// The variable FLUXKEEP_FAILPOINTS names the file that lists them.
type faults struct{ points *failpoint.Points }

func newFaults() faults {
	if file := os.Getenv("FLUXKEEP_FAILPOINTS"); file != "" {
		return faults{failpoint.Open(file)}
	}
	return faults{}
}

func (f faults) store() vfs.FS {
	if f.points == nil {
		return nil
	}
	return f.points.FS(vfs.Default)
}

func (f faults) changes(s store.Store) store.Store {
	if f.points == nil {
		return s
	}
	return f.points.Store(s)
}

// now is the server's clock, nil for the system's.
func (f faults) now() func() time.Time {
	if f.points == nil {
		return nil
	}
	return f.points.Now
}

func (f faults) audit() audit.FS {
	if f.points == nil {
		return nil
	}
	return f.points.AuditFS(audit.OS())
}
