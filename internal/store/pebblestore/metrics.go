package pebblestore

import "sync/atomic"

// counters count events since Open.
type counters struct {
	groups, changes, logBytes     atomic.Uint64
	corruptions, backgroundErrors atomic.Uint64
	recoveries                    atomic.Uint64
}

// Metrics are measurements of a store, for its operator. Counts are since
// Open.
type Metrics struct {
	Groups   uint64 // commit groups, each with one sync
	Changes  uint64 // calls of Update in these groups
	LogBytes uint64 // bytes written to the log

	DiskBytes   uint64 // used by the store's files
	TableBytes  uint64 // of DiskBytes, in live tables
	MemoryBytes uint64 // of changes not yet in a table
	CacheBytes  int64
	Layers      int // layers of tables that a read of recent data merges

	Compactions       int64
	FailedCompactions int64
	Flushes           int64

	Damages          uint64 // reads that found damaged data
	BackgroundErrors uint64
	Recoveries       uint64 // times the engine was replaced after a failure
	Available        bool   // changes and reads work
}

// Metrics returns current measurements. It takes about 0.1 ms.
func (s *Store) Metrics() Metrics {
	c := &s.counters
	out := Metrics{
		Groups:           c.groups.Load(),
		Changes:          c.changes.Load(),
		LogBytes:         c.logBytes.Load(),
		Damages:          c.corruptions.Load(),
		BackgroundErrors: c.backgroundErrors.Load(),
		Recoveries:       c.recoveries.Load(),
	}
	e := s.acquire()
	if e == nil {
		return out
	}
	defer e.release()
	m := e.gen.db.Metrics()
	out.DiskBytes = m.DiskSpaceUsage()
	out.TableBytes = m.Table.Local.LiveSize
	out.MemoryBytes = m.MemTable.Size
	out.CacheBytes = m.BlockCache.Size
	out.Layers = m.ReadAmp()
	out.Compactions = m.Compact.Count
	out.FailedCompactions = m.Compact.FailedCount
	out.Flushes = m.Flush.Count
	out.Available = s.available(e.gen)
	return out
}
