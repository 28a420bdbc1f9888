package pebblestore

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// The files of a disk.

// tableWriter is a file that the engine can do without.
type tableWriter struct {
	vfs.File
	disk *disk
}

func (f *tableWriter) Write(p []byte) (n int, err error) {
	err = f.disk.try(func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f *tableWriter) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.disk.try(func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f *tableWriter) Preallocate(off, length int64) error {
	return f.disk.tryNow(func() error { return f.File.Preallocate(off, length) })
}

func (f *tableWriter) Sync() error     { return f.disk.try(f.File.Sync) }
func (f *tableWriter) SyncData() error { return f.disk.try(f.File.SyncData) }

func (f *tableWriter) SyncTo(length int64) (full bool, err error) {
	err = f.disk.try(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// directory records in the ledger what a sync of the folder made durable.
type directory struct {
	vfs.File
	disk *disk
}

func (f *directory) Sync() error {
	f.disk.change(func() error {
		if err := f.File.Sync(); err != nil {
			return err
		}
		return f.disk.ledger.FolderSynced()
	})
	return nil
}

// vitalFile is a log, a manifest or a marker. Its methods never fail. file is
// nil if it could not be created.
type vitalFile struct {
	file vfs.File
	disk *disk
	kind integrity.Kind
	name string

	end    int64        // bytes written
	synced atomic.Int64 // bytes synced
}

func (f *vitalFile) change(fn func() error) {
	f.disk.change(func() error {
		if f.file == nil {
			return errStopped
		}
		return fn()
	})
}

func (f *vitalFile) Write(p []byte) (int, error) {
	f.change(func() error {
		n, err := f.file.Write(p)
		f.end += int64(n)
		return err
	})
	return len(p), nil
}

func (f *vitalFile) WriteAt(p []byte, off int64) (int, error) {
	f.change(func() error {
		_, err := f.file.WriteAt(p, off)
		return err
	})
	return len(p), nil
}

// Preallocate does nothing: writing to preallocated blocks makes a sync slower
// than appending does.
func (f *vitalFile) Preallocate(int64, int64) error { return nil }

func (f *vitalFile) Sync() error     { f.sync(vfs.File.Sync); return nil }
func (f *vitalFile) SyncData() error { f.sync(vfs.File.SyncData); return nil }

func (f *vitalFile) sync(sync func(vfs.File) error) {
	f.change(func() error {
		end := f.end
		if err := sync(f.file); err != nil {
			return err
		}
		switch f.kind {
		case integrity.LogFile:
			f.synced.Store(end)
		case integrity.ManifestFile:
			return f.disk.ledger.ManifestSynced(f.name, end)
		}
		return nil
	})
}

func (f *vitalFile) SyncTo(length int64) (full bool, err error) {
	f.change(func() (err error) {
		full, err = f.file.SyncTo(length)
		return err
	})
	return full, nil
}

func (f *vitalFile) Close() error {
	if f.file == nil {
		return nil
	}
	// Close the file even if the disk has stopped.
	if err := f.file.Close(); err != nil {
		f.disk.fail(err)
	}
	return nil
}

func (f *vitalFile) Stat() (vfs.FileInfo, error) {
	if f.file != nil {
		info, err := f.file.Stat()
		if err == nil {
			return info, nil
		}
		f.disk.fail(err)
	}
	return noInfo{name: f.name}, nil
}

func (f *vitalFile) Read(p []byte) (int, error) {
	if f.file == nil {
		return 0, errStopped
	}
	return f.file.Read(p)
}

func (f *vitalFile) ReadAt(p []byte, off int64) (int, error) {
	if f.file == nil {
		return 0, errStopped
	}
	return f.file.ReadAt(p, off)
}

func (f *vitalFile) Prefetch(off, length int64) error { return nil }

func (f *vitalFile) Fd() uintptr {
	if f.file == nil {
		return vfs.InvalidFd
	}
	return f.file.Fd()
}

// noInfo describes a file that doesn't exist.
type noInfo struct{ name string }

func (i noInfo) Name() string           { return i.name }
func (i noInfo) Size() int64            { return 0 }
func (i noInfo) Mode() os.FileMode      { return 0 }
func (i noInfo) ModTime() time.Time     { return time.Time{} }
func (i noInfo) IsDir() bool            { return false }
func (i noInfo) Sys() any               { return nil }
func (i noInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
