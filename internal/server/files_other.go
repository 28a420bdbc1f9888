//go:build !unix

package server

// fileLimit returns how many files the process may have open, 0 when that
// can't be told.
func fileLimit() int { return 0 }
