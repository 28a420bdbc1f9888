//go:build unix

package server

import "syscall"

// fileLimit returns how many files the process may have open, 0 when that
// can't be told.
func fileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return 0
	}
	return int(limit.Cur)
}
