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
	made string // the lock file, if this lock created it
}

// lockFolder locks dir.
func lockFolder(fsys vfs.FS, dir string) (*folderLock, error) {
	path := fsys.PathJoin(dir, integrity.LockName)
	if fsys != vfs.Default {
		// A test's file system.
		file, err := fsys.Lock(path)
		// Without an errno it is Pebble's own error: this process holds the
		// lock.
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

// lockReadOnly locks an existing store without changing anything.
func lockReadOnly(fsys vfs.FS, dir string) (*folderLock, error) {
	if state, _, err := integrity.Inspect(fsys, dir); err != nil {
		return nil, err
	} else if state != integrity.FolderStore {
		return nil, fmt.Errorf("%s does not contain a store: %w", dir, fs.ErrNotExist)
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

// lockedError translates an error from durable.Lock.
func lockedError(dir string, err error) error {
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%w: %s", store.ErrLocked, dir)
	}
	return err
}

// errLockGone means that the lock file was removed while it was being locked,
// by a process that had created it and then gave up.
var errLockGone = errors.New("the lock file was removed")

// lockFile locks a file, creating it if needed. Pebble's own lock truncates
// the file before checking whether another process holds it, but a refused
// process must not change even the file's time.
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

// giveUp releases the lock and removes the file if this lock created it.
func (l *folderLock) giveUp() error {
	if l.made == "" {
		return l.Close()
	}
	return errors.Join(os.Remove(l.made), l.Close())
}
