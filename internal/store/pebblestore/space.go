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
	// reserveFiles is the number of files that must be left for the engine to
	// make, on a file system that can run out of them.
	reserveFiles = 64

	// Opening the engine, and changes with store.WithReserve, may use the
	// reserve up to this part of it.
	reservePart = 4
)

// space is what the file system has left, as far as it tells.
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

// spaceFor makes sure that a change of n bytes leaves the reserve.
func (s *Store) spaceFor(ctx context.Context, free space, n int) error {
	err := s.leaves(free, n, 1)
	if err != nil && store.MayUseReserve(ctx) {
		err = s.leaves(free, n, reservePart)
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// leaves makes sure that n more bytes leave the reserve, or a part of it.
func (s *Store) leaves(free space, n int, part uint64) error {
	if s.opts.Reserve < 0 {
		return nil
	}
	// Twice: in the log, and in a table soon after.
	if need := uint64(s.opts.Reserve)/part + 2*uint64(n); free.bytes < need {
		return fmt.Errorf("%d bytes free on the disk, %d needed", free.bytes, need)
	}
	if need := reserveFiles / part; free.files < need {
		return fmt.Errorf("room for %d more files on the disk, %d needed", free.files, need)
	}
	return nil
}

// spaceToOpen makes sure that the engine can be opened, which writes to tables
// what is in its logs.
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
	return s.leaves(s.freeSpace(), int(logs), reservePart)
}

// isFull reports whether err says that the disk has no space left.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
