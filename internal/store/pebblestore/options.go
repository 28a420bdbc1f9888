package pebblestore

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	defaultCacheSize = 32 << 20
	defaultReserve   = 32 << 20

	// memTableSize limits the size of a memtable, and so how much of the
	// write-ahead log is replayed at start.
	memTableSize = 8 << 20

	// format is fixed so that linking a newer Pebble never upgrades the format
	// of a folder. It includes the log's sync offsets and checksummed table
	// footers.
	format = pebble.FormatValueSeparation
)

// Options are the settings of a store. The zero value of a field selects its
// default.
type Options struct {
	// Logger gets messages for the operator: damage, disk failures, recovery.
	// Default: nothing is logged.
	Logger *slog.Logger

	// CacheSize is the size in bytes of the cache for blocks read from disk.
	// Default: 32 MiB.
	CacheSize int64

	// Reserve is the free space in bytes below which changes are refused with
	// store.ErrUnavailable. The engine needs it for its own work, and for
	// changes with store.WithReserve. Changes are also refused when the file
	// system is about to run out of inodes. Default: 32 MiB; negative: no
	// check.
	Reserve int64

	// ReadOnly opens an existing store without writing anything. Changes are
	// refused with store.ErrUnavailable.
	ReadOnly bool

	// FS is the file system. Default: the operating system's.
	FS vfs.FS
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	if out.CacheSize <= 0 {
		out.CacheSize = defaultCacheSize
	}
	if out.Reserve == 0 {
		out.Reserve = defaultReserve
	}
	if out.FS == nil {
		out.FS = vfs.Default
	}
	return out
}

// engineOptions configures Pebble for small sealed values, small durable
// changes and little memory.
func engineOptions(fs vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS:                 fs,
		FormatMajorVersion: format,
		MemTableSize:       memTableSize,
		MaxOpenFiles:       512,

		// A stall inside Pebble can't be interrupted when the disk fails, so
		// Pebble never stalls: the committer waits instead (see
		// waitForEngine).
		MemTableStopWritesThreshold: 1 << 10,
		L0StopWritesThreshold:       1 << 20,
		L0CompactionThreshold:       8,

		// Spreads out the writes of large changes; small ones are synced
		// anyway.
		WALBytesPerSync: 1 << 20,
	}
	o.Experimental.EnableColumnarBlocks = func() bool { return true }
	// Compactions based on read sampling would slow down each read and rewrite
	// data that is only read.
	o.Experimental.ReadSamplingMultiplier = -1
	for i := range o.Levels {
		o.Levels[i].BlockSize = 8 << 10
		o.Levels[i].IndexBlockSize = 64 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// Sealed bytes don't compress.
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return o
}
