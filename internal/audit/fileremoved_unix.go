//go:build unix

package audit

import (
	"io/fs"
	"syscall"
)

// removed reports whether an open file no longer has a name.
func removed(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
