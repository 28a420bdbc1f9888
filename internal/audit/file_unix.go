//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package audit

import (
	"io/fs"
	"os"
	"syscall"
)

// lock keeps a second process from writing to the same log. The system takes
// the lock back when the process ends, however it ends.
func lock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	if err != nil {
		return err
	}
	if failed == syscall.EWOULDBLOCK {
		return ErrLocked
	}
	return os.NewSyscallError("flock", failed)
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// removed reports whether the open file has no name any more.
func removed(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
