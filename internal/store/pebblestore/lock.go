package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// folderLock keeps other processes out of a folder.
type folderLock struct {
	io.Closer
	made string // the lock file, if it was made for this lock
}

// lockFolder locks dir.
func lockFolder(fsys vfs.FS, dir string) (*folderLock, error) {
	path := fsys.PathJoin(dir, integrity.LockName)
	if fsys != vfs.Default {
		// A file system of a test.
		file, err := fsys.Lock(path)
		// Pebble's own error, without an errno, says that this process has it.
		var errno syscall.Errno
		if err != nil && (!errors.As(err, &errno) || errno == syscall.EAGAIN) {
			err = fmt.Errorf("%w: %s", store.ErrLocked, dir)
		}
		return &folderLock{Closer: file}, err
	}
	for {
		lock, err := lockFile(path)
		if err != errLockGone {
			return lock, lockedError(dir, err)
		}
	}
}

// lockReadOnly locks a store that is there, and changes nothing.
func lockReadOnly(fsys vfs.FS, dir string) (*folderLock, error) {
	if state, _, err := integrity.Inspect(fsys, dir); err != nil {
		return nil, err
	} else if state != integrity.FolderStore {
		return nil, fmt.Errorf("%s holds no store: %w", dir, fs.ErrNotExist)
	}
	if fsys != vfs.Default {
		return lockFolder(fsys, dir)
	}
	f, err := os.Open(filepath.Join(dir, integrity.LockName))
	if errors.Is(err, fs.ErrNotExist) {
		return &folderLock{Closer: noLock{}}, nil // nobody has it open
	}
	if err != nil {
		return nil, err
	}
	if err := durable.Lock(f); err != nil {
		return nil, errors.Join(lockedError(dir, err), f.Close())
	}
	return &folderLock{Closer: f}, nil
}

// lockedError translates an error of durable.Lock.
func lockedError(dir string, err error) error {
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%w: %s", store.ErrLocked, dir)
	}
	return err
}

// errLockGone says that the file was removed while it was being locked, by a
// process that had made it and then gave up.
var errLockGone = errors.New("the lock file is gone")

// lockFile locks a file, which it makes if it is not there. Pebble's own lock
// truncates the file before it knows whether another process holds it: a
// process that is refused must not change even its time.
func lockFile(path string) (_ *folderLock, err error) {
	made := ""
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		made = path
		if f, err = durable.CreateFile(path); errors.Is(err, fs.ErrExist) {
			return nil, errLockGone
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // nothing was written
		}
	}()
	if err := durable.Lock(f); err != nil {
		return nil, err
	}
	locked, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(locked, there) {
		return nil, errLockGone
	}
	return &folderLock{f, made}, nil
}

// giveUp releases the lock and leaves the folder as it was.
func (l *folderLock) giveUp() error {
	if l.made == "" {
		return l.Close()
	}
	return errors.Join(os.Remove(l.made), l.Close())
}
