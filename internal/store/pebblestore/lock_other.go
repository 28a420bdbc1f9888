//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package pebblestore

import (
	"errors"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// lockFile locks a file in Pebble's way.
func lockFile(path string) (*folderLock, error) {
	file, err := vfs.Default.Lock(path)
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		return nil, store.ErrLocked // by this process
	}
	if err != nil {
		return nil, err
	}
	return &folderLock{file, func() error { return nil }}, nil
}
