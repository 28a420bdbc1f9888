//go:build unix

package seal

import (
	"io/fs"
	"os"
	"syscall"
)

// privateTo reports whether a file is meant for this process although its group
// can read it: root owns it, and nobody but root can change it. Such are the
// files of systemd's credentials and of Kubernetes volumes with fsGroup, which
// the process can't own. PostgreSQL has the same rule for its TLS keys.
func privateTo(info fs.FileInfo) bool {
	sys, ok := info.Sys().(*syscall.Stat_t)
	return ok && groupMayRead(info.Mode(), int(sys.Uid), os.Geteuid())
}

func groupMayRead(mode fs.FileMode, owner, user int) bool {
	return owner == 0 && user != 0 && mode.Perm()&0o037 == 0
}
