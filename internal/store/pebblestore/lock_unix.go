//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package pebblestore

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// lockFile locks a file, which it makes if it is not there. Pebble's own lock
// cuts the file that is there, before it knows whether that is somebody
// else's: whoever is refused must not change even its time.
func lockFile(path string) (*folderLock, error) {
	for {
		lock, err := lockOnce(path)
		if err != errLockGone {
			return lock, err
		}
	}
}

// errLockGone says that the file was removed while it was being locked, by a
// process that had made it for nothing.
var errLockGone = errors.New("the lock file is gone")

func lockOnce(path string) (_ *folderLock, err error) {
	undo := func() error { return nil }
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil, errLockGone
		}
		undo = func() error { return os.Remove(path) }
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // nothing was written
		}
	}()
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return nil, err
	}
	if errors.Is(failed, syscall.EWOULDBLOCK) {
		return nil, store.ErrLocked
	}
	if failed != nil {
		return nil, os.NewSyscallError("flock", failed)
	}
	mine, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) {
		return nil, errLockGone
	}
	return &folderLock{f, undo}, nil
}
