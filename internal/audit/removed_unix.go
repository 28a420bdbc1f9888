//go:build unix

package audit

import (
	"io/fs"
	"syscall"
)

// removed reports whether the open file has no name any more.
func removed(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
