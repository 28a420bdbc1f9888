//go:build unix

package datadir

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkOwner makes sure that only this user, root, and users that root has allowed
// can change a folder's files.
func checkOwner(dir *os.File) error {
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	owner := os.Geteuid()
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(sys.Uid)
	}
	if err := checkAccess(info.Mode(), owner, os.Geteuid()); err != nil {
		return fmt.Errorf("%s %w", dir.Name(), err)
	}
	return nil
}

// checkAccess refuses the same folders that sshd refuses for its files, with two
// exceptions. Root may use any user's folder, as offline commands and containers
// with a host's folder do. A group may write to root's folder, since that is how
// Kubernetes mounts volumes (fsGroup).
func checkAccess(mode fs.FileMode, owner, user int) error {
	const groupWrite, othersWrite = 0o020, 0o002
	switch {
	case owner != user && owner != 0 && user != 0:
		return fmt.Errorf("belongs to another user, with ID %d: give it to the user that runs Fluxkeep", owner)
	case mode&othersWrite != 0, mode&groupWrite != 0 && (owner != 0 || user == 0):
		return fmt.Errorf("can be changed by other users (mode %04o): run chmod go-w on it, or use a folder in it, which is made as it must be", mode.Perm())
	}
	return nil
}
