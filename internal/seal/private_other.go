//go:build !unix

package seal

import "io/fs"

// privateTo is always false: on this system, access lists protect the file.
func privateTo(fs.FileInfo) bool { return false }
