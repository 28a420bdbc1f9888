//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package datadir

import (
	"errors"
	"os"
	"syscall"
)

// lockFile keeps other processes out of the folder that d is. A lock on the
// folder itself leaves no file behind and changes none, so a start that finds
// the folder in use leaves no trace. The system takes it back when the process
// ends, however it ends.
//
// Some network file systems can't lock folders. There the locks of the store
// and of the audit log have to do.
func lockFile(d *os.File) error {
	conn, err := d.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	}); err != nil {
		return err
	}
	switch {
	case errors.Is(failed, syscall.EWOULDBLOCK):
		return ErrLocked
	case errors.Is(failed, syscall.EBADF), errors.Is(failed, syscall.ENOLCK),
		errors.Is(failed, syscall.EINVAL), errors.Is(failed, syscall.ENOTSUP):
		return nil
	}
	return os.NewSyscallError("flock", failed)
}
