//go:build !unix

package audit

import "io/fs"

func removed(fs.FileInfo) bool { return false }
