//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package audit

import (
	"io/fs"
	"os"
)

// These systems have no lock that ends with the process, or none that leaves
// the file readable; nor can a directory be synced.

func lock(*os.File) error { return nil }

func syncDirectory(string) error { return nil }

func removed(fs.FileInfo) bool { return false }
