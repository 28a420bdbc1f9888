//go:build unix

package integrity

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// MakePrivate closes a file that was created to other users, whatever the
// umask is.
func MakePrivate(f vfs.File) error {
	if fd := f.Fd(); fd != vfs.InvalidFd {
		return os.NewSyscallError("fchmod", syscall.Fchmod(int(fd), 0o600))
	}
	return nil
}

// OwnFolder makes sure that the folder belongs to the user who runs this, and
// closes it to others. It reports whether it was open to them.
func OwnFolder(dir string) (wasOpen bool, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && uid != 0 && int(st.Uid) != uid {
		return false, fmt.Errorf("%s belongs to user %d, not to user %d, who runs this: %w", dir, st.Uid, uid, fs.ErrPermission)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return false, nil
	}
	return true, os.Chmod(dir, 0o700)
}
