//go:build !unix

package pebblestore

import "io/fs"

// fileID identifies nothing here: these systems don't allow open files to be
// removed.
type fileID struct{}

const fileIDsTellNothing = true

func idOf(fs.FileInfo) fileID { return fileID{} }
