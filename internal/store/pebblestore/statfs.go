//go:build darwin || freebsd || linux

package pebblestore

import (
	"math"
	"syscall"
)

// statfs returns the free space of dir's file system.
func statfs(dir string) (space, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return space{}, err
	}
	// Some of these are signed on FreeBSD, and negative inside root's reserve.
	free := space{uint64(max(0, st.Bavail)) * uint64(st.Bsize), uint64(max(0, st.Ffree))}
	if st.Files == 0 {
		free.files = math.MaxUint64 // unlimited or unknown
	}
	return free, nil
}
