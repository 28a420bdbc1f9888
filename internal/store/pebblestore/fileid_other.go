//go:build !unix

package pebblestore

import "io/fs"

// fileID tells nothing here: these systems don't let go of open files.
type fileID struct{}

const fileIDsTellNothing = true

func idOf(fs.FileInfo) fileID { return fileID{} }
