//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package durable

import (
	"errors"
	"os"
	"syscall"
)

// Lock locks an open file or folder against all other open files, in this and
// other processes, until f is closed. The lock ends with the process, even
// after a crash.
//
// It returns ErrLocked if another file holds the lock, and
// errors.ErrUnsupported if the file system has no locks.
func Lock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	}); err != nil {
		return err
	}
	switch failed {
	case nil:
		return nil
	case syscall.EWOULDBLOCK:
		return ErrLocked
	case syscall.EBADF, syscall.EINVAL, syscall.ENOLCK, syscall.ENOTSUP: // network file systems
		return errors.Join(errors.ErrUnsupported, os.NewSyscallError("flock", failed))
	}
	return os.NewSyscallError("flock", failed)
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
