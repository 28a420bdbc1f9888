//go:build unix

package pebblestore

import (
	"io/fs"
	"syscall"
)

// fileID identifies a file among all that exist.
type fileID struct{ dev, ino uint64 }

const fileIDsTellNothing = false

// idOf returns the ID of a file. It is zero on in-memory file systems.
func idOf(info fs.FileInfo) fileID {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(st.Dev), uint64(st.Ino)}
	}
	return fileID{}
}
