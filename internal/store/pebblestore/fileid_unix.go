//go:build unix

package pebblestore

import (
	"io/fs"
	"syscall"
)

// fileID tells a file from any other that exists.
type fileID struct{ dev, ino uint64 }

const fileIDsTellNothing = false

// idOf returns the ID of a file, zero on file systems in memory.
func idOf(info fs.FileInfo) fileID {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(st.Dev), uint64(st.Ino)}
	}
	return fileID{}
}
