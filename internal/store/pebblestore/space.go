package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

const (
	// reserveFiles is the number of files that the engine must still be able
	// to create, on file systems that can run out of inodes.
	reserveFiles = 64

	// openPart is the part of the reserve, as 1/openPart, that opening the engine leaves.
	openPart = 4
)

// leftParts are the parts of the reserve that changes leave.
var leftParts = [...]uint64{store.NoReserve: 1, store.RemovalReserve: 2, store.LastReserve: openPart}

// space is the free space of the file system, as far as known.
type space struct{ bytes, files uint64 }

func (s *Store) freeSpace() space {
	unknown := space{math.MaxUint64, math.MaxUint64}
	if s.opts.Reserve < 0 {
		return unknown
	}
	if s.opts.FS == vfs.Default {
		if free, err := statfs(s.dir); err == nil {
			return free
		}
	}
	usage, err := s.opts.FS.GetDiskUsage(s.dir)
	if err != nil {
		return unknown
	}
	return space{usage.AvailBytes, math.MaxUint64}
}

// spaceFor returns an error if a change of n bytes would use the reserve.
func (s *Store) spaceFor(ctx context.Context, free space, n int) error {
	if err := s.leaves(free, n, leftParts[store.ReserveOf(ctx)]); err != nil {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return nil
}

// leaves returns an error if n more bytes would leave less than 1/part of the reserve.
func (s *Store) leaves(free space, n int, part uint64) error {
	if s.opts.Reserve < 0 {
		return nil
	}
	// Twice: in the log, and soon after in a table.
	if need := uint64(s.opts.Reserve)/part + 2*uint64(n); free.bytes < need {
		return fmt.Errorf("%d bytes free on the disk, %d needed", free.bytes, need)
	}
	if need := reserveFiles / part; free.files < need {
		return fmt.Errorf("room for %d more files on the disk, %d needed", free.files, need)
	}
	return nil
}

// spaceToOpen returns an error if there is too little space to open the
// engine, which writes the content of its logs to tables.
func (s *Store) spaceToOpen() error {
	names, err := s.opts.FS.List(s.dir)
	if err != nil {
		return err
	}
	var logs int64
	for _, name := range names {
		if _, ok := integrity.LogNumber(name); !ok {
			continue
		}
		info, err := s.opts.FS.Stat(s.opts.FS.PathJoin(s.dir, name))
		if err != nil {
			return err
		}
		logs += info.Size()
	}
	return s.leaves(s.freeSpace(), int(logs), openPart)
}

// isFull reports whether err means that the disk is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
