//go:build unix

package pebblestore

import (
	"syscall"
	"testing"
	"time"
)

// processorTime returns the CPU time that this process has used.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	must(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
