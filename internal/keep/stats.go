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

// InstanceID returns an ID that is the same as long as the data exist, also after
// they are restored or their keys rotated. It reveals nothing about them. Each what
// has another one.
func (k *Keep) InstanceID(what string) [16]byte {
	return k.records.Keys().Lookup("instance", []byte(what))
}
