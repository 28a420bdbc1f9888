package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

const lockName = "LOCK"

// folderLock keeps other processes out of a folder.
type folderLock struct {
	file io.Closer
	undo func() error // removes the file, if it was made for this
}

// lockFolder takes the lock of dir.
func lockFolder(fs vfs.FS, dir string) (*folderLock, error) {
	path := fs.PathJoin(dir, lockName)
	if fs == vfs.Default {
		lock, err := lockFile(path)
		if errors.Is(err, store.ErrLocked) {
			return nil, fmt.Errorf("%w: %s", store.ErrLocked, dir)
		}
		return lock, err
	}
	file, err := fs.Lock(path)
	if err == nil {
		return &folderLock{file, func() error { return nil }}, nil
	}
	// Pebble's own error, without an errno, says that this process has it.
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno == syscall.EAGAIN {
		return nil, fmt.Errorf("%w: %s", store.ErrLocked, dir)
	}
	return nil, err
}

func (l *folderLock) Close() error { return l.file.Close() }

// giveUp gives the lock back and leaves the folder as it was.
func (l *folderLock) giveUp() error { return errors.Join(l.undo(), l.file.Close()) }
