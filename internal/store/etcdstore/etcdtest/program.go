//go:build unix

package etcdtest

import "testing"

// Program returns the path of the program for etcd, or skips the test.
func Program(tb testing.TB) string {
	tb.Helper()
	return find(tb)
}
