//go:build darwin || freebsd || linux

package pebblestore

import (
	"math"
	"syscall"
)

// statfs returns the free space of the file system that dir is in.
func statfs(dir string) (space, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return space{}, err
	}
	// Some of these are signed on FreeBSD, and below 0 in the root's reserve.
	free := space{uint64(max(0, st.Bavail)) * uint64(st.Bsize), uint64(max(0, st.Ffree))}
	if st.Files == 0 {
		free.files = math.MaxUint64 // no limit, or not known
	}
	return free, nil
}
