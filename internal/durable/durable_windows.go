package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Lock locks an open file against all other open files, in this and other
// processes, until f is closed. The lock ends with the process, even after a
// crash. The file stays readable.
//
// It returns ErrLocked if another file holds the lock.
func Lock(f *os.File) error {
	// A byte far beyond the end of any file.
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return os.NewSyscallError("LockFileEx", err)
}

// SyncDir does nothing: Windows makes names durable by itself.
func SyncDir(string) error { return nil }
