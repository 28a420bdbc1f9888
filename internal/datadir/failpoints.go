//go:build failpoints

package datadir

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/failpoint"
)

// faults lets a test end the process, or fail its work, at named places. The
// variable FLUXKEEP_FAILPOINTS names the file that says where.
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

func (f faults) audit() func(audit.Point) error {
	if f.points == nil {
		return nil
	}
	return func(p audit.Point) error { return f.points.Reach(placeOf(p)) }
}

// placeOf names the audit log's points as failpoint names the store's.
func placeOf(p audit.Point) string {
	switch p {
	case audit.BeforeWrite:
		return "audit.write.before"
	case audit.AfterWrite:
		return "audit.write.after"
	case audit.BeforeSync:
		return "audit.sync.before"
	case audit.AfterSync:
		return "audit.sync.after"
	case audit.BeforeDirSync:
		return "audit.dirsync.before"
	case audit.AfterDirSync:
		return "audit.dirsync.after"
	case audit.BeforeRename:
		return "audit.rename.before"
	case audit.AfterRename:
		return "audit.rename.after"
	case audit.BeforeCreate:
		return "audit.create.before"
	case audit.AfterCreate:
		return "audit.create.after"
	case audit.BeforeCut:
		return "audit.cut.before"
	case audit.AfterCut:
		return "audit.cut.after"
	}
	return "audit.other"
}
