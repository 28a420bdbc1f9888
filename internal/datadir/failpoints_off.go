//go:build !failpoints

package datadir

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// faults are for tests of crashes and disk errors, which build the program with the
// tag failpoints. Without it there are none.
type faults struct{}

func newFaults() faults { return faults{} }

func (faults) store() vfs.FS                     { return nil }
func (faults) now() func() time.Time             { return nil }
func (faults) audit() audit.FS                   { return nil }
func (faults) changes(s store.Store) store.Store { return s }
