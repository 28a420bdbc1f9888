//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package datadir

import "os"

// lockFile does nothing where a folder can't be locked. The store's own lock
// keeps other processes out there.
func lockFile(*os.File) error { return nil }
