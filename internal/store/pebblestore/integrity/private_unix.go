//go:build unix

package integrity

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// MakePrivate removes other users' access to a new file, whatever the umask.
func MakePrivate(f vfs.File) error {
	if fd := f.Fd(); fd != vfs.InvalidFd {
		return os.NewSyscallError("fchmod", syscall.Fchmod(int(fd), 0o600))
	}
	return nil
}

// OwnFolder verifies that the folder belongs to the current user and removes
// other users' access to it. It reports whether they had any.
func OwnFolder(dir string) (wasOpen bool, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && uid != 0 && int(st.Uid) != uid {
		return false, fmt.Errorf("%s belongs to user %d, but this process runs as user %d: %w", dir, st.Uid, uid, fs.ErrPermission)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return false, nil
	}
	return true, os.Chmod(dir, 0o700)
}
