package etcdstore

import (
	"errors"
	"io/fs"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// copyDisk is the file system as the engine of a copy sees it. The engine ends
// the process when some writes fail. So copyDisk reports the first error to the
// store, which loads another copy, and success to the engine. From then on
// nothing that the engine writes reaches the disk.
type copyDisk struct {
	vfs.FS
	onFail func(error)
	failed atomic.Bool
	lost   vfs.FS // takes new files after a failure
}

func newCopyDisk(real vfs.FS, onFail func(error)) *copyDisk {
	return &copyDisk{FS: real, onFail: onFail, lost: vfs.NewMem()}
}

// do calls fn unless the disk has failed, and hides its error.
func (d *copyDisk) do(fn func() error) error {
	if d.failed.Load() {
		return nil
	}
	err := fn()
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if d.failed.CompareAndSwap(false, true) {
		d.onFail(err)
	}
	return nil
}

func (d *copyDisk) open(cat vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := d.do(func() (err error) { f, err = open(); return err })
	if f == nil && err == nil {
		return d.lost.Create("lost", cat)
	}
	if err != nil {
		return nil, err
	}
	return &copyFile{f, d}, nil
}

// Create implements vfs.FS.
func (d *copyDisk) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(cat, func() (vfs.File, error) { return d.FS.Create(name, cat) })
}

// ReuseForWrite implements vfs.FS.
func (d *copyDisk) ReuseForWrite(oldname, newname string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(cat, func() (vfs.File, error) { return d.FS.ReuseForWrite(oldname, newname, cat) })
}

// OpenReadWrite implements vfs.FS.
func (d *copyDisk) OpenReadWrite(name string, cat vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.open(cat, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, cat, opts...) })
}

// OpenDir implements vfs.FS.
func (d *copyDisk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &copyFile{f, d}, nil
}

// Link implements vfs.FS.
func (d *copyDisk) Link(oldname, newname string) error {
	return d.do(func() error { return d.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (d *copyDisk) Rename(oldname, newname string) error {
	return d.do(func() error { return d.FS.Rename(oldname, newname) })
}

// Remove implements vfs.FS.
func (d *copyDisk) Remove(name string) error {
	return d.do(func() error {
		if err := d.FS.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// copyFile is a file of a copyDisk.
type copyFile struct {
	vfs.File
	disk *copyDisk
}

// Write implements vfs.File.
func (f *copyFile) Write(p []byte) (int, error) {
	return len(p), f.disk.do(func() error { _, err := f.File.Write(p); return err })
}

// WriteAt implements vfs.File.
func (f *copyFile) WriteAt(p []byte, at int64) (int, error) {
	return len(p), f.disk.do(func() error { _, err := f.File.WriteAt(p, at); return err })
}

// Preallocate implements vfs.File.
func (f *copyFile) Preallocate(offset, length int64) error {
	return f.disk.do(func() error { return f.File.Preallocate(offset, length) })
}

// Sync implements vfs.File.
func (f *copyFile) Sync() error { return f.disk.do(f.File.Sync) }

// SyncData implements vfs.File.
func (f *copyFile) SyncData() error { return f.disk.do(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *copyFile) SyncTo(length int64) (full bool, err error) {
	err = f.disk.do(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full || f.disk.failed.Load(), err
}
