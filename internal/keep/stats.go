package keep

import (
	"sync/atomic"
)

// Stats has the counters for metrics.
type Stats struct {
	DropGuards     atomic.Int64
	Merges         atomic.Int64
	MergeConflicts atomic.Int64
	Adopted        atomic.Int64
}

// Stats returns the counters. They may be read at any time.
func (k *Keep) Stats() *Stats { return &k.stats }
