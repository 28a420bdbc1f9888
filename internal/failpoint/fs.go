package failpoint

import (
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS adds points around the changes to a file system. They are named
//
//	store.KIND.STEP.WHEN
//
// KIND is log, manifest, marker, table, guard, folder or other; STEP is
// create, write, sync, rename or remove; WHEN is before, after or, for writes,
// within. A process killed within a write leaves half of it.
func (p *Points) FS(base vfs.FS) vfs.FS { return &fileSystem{base, p} }

type fileSystem struct {
	vfs.FS
	points *Points
}

func kindOf(base string) string {
	switch {
	case strings.HasSuffix(base, ".log"):
		return "log"
	case strings.HasPrefix(base, "MANIFEST"):
		return "manifest"
	case strings.HasPrefix(base, "marker."):
		return "marker"
	case strings.HasSuffix(base, ".sst"):
		return "table"
	case strings.HasPrefix(base, "GUARD"):
		return "guard"
	}
	return "other"
}

func (fs *fileSystem) point(name string) string { return "store." + kindOf(fs.PathBase(name)) }

// around runs step between two points. An error after it means that the step
// succeeded but is reported as failed.
func (p *Points) around(point string, step func() error) error {
	if err := p.Reach(point + ".before"); err != nil {
		return err
	}
	if err := step(); err != nil {
		return err
	}
	return p.Reach(point + ".after")
}

// open runs step, which opens a file, and adds points around the changes to
// the file.
func (fs *fileSystem) open(name, step string, open func() (vfs.File, error)) (vfs.File, error) {
	point := fs.point(name)
	var f vfs.File
	opened := func() (err error) {
		f, err = open()
		return err
	}
	var err error
	if step == "" {
		err = opened()
	} else {
		err = fs.points.around(point+"."+step, opened)
	}
	if err != nil {
		if f != nil {
			_ = f.Close() // created, but reported as failed
		}
		return nil, err
	}
	return &file{f, fs.points, point}, nil
}

func (fs *fileSystem) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open(name, "create", func() (vfs.File, error) { return fs.FS.Create(name, cat) })
}

func (fs *fileSystem) ReuseForWrite(oldname, newname string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open(newname, "create", func() (vfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, cat) })
}

func (fs *fileSystem) OpenReadWrite(name string, cat vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.open(name, "", func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, cat, opts...) })
}

func (fs *fileSystem) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{f, fs.points, "store.folder"}, nil
}

func (fs *fileSystem) Rename(oldname, newname string) error {
	return fs.points.around(fs.point(newname)+".rename", func() error { return fs.FS.Rename(oldname, newname) })
}

func (fs *fileSystem) Link(oldname, newname string) error {
	return fs.points.around(fs.point(newname)+".create", func() error { return fs.FS.Link(oldname, newname) })
}

func (fs *fileSystem) Remove(name string) error {
	return fs.points.around(fs.point(name)+".remove", func() error { return fs.FS.Remove(name) })
}

func (fs *fileSystem) RemoveAll(name string) error {
	return fs.points.around(fs.point(name)+".remove", func() error { return fs.FS.RemoveAll(name) })
}

func (fs *fileSystem) MkdirAll(name string, perm os.FileMode) error {
	return fs.points.around("store.folder.create", func() error { return fs.FS.MkdirAll(name, perm) })
}

func (fs *fileSystem) Unwrap() vfs.FS { return fs.FS }

// file is a file or folder with points around its changes.
type file struct {
	vfs.File
	points *Points
	point  string
}

func (f *file) Write(b []byte) (n int, err error) {
	err = f.points.around(f.point+".write", func() (err error) {
		if f.points.killed(f.point + ".write.within") {
			_, _ = f.File.Write(b[:len(b)/2])
			die()
		}
		n, err = f.File.Write(b)
		return err
	})
	return n, err
}

func (f *file) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.points.around(f.point+".write", func() (err error) {
		if f.points.killed(f.point + ".write.within") {
			_, _ = f.File.WriteAt(b[:len(b)/2], off)
			die()
		}
		n, err = f.File.WriteAt(b, off)
		return err
	})
	return n, err
}

func (f *file) Sync() error     { return f.points.around(f.point+".sync", f.File.Sync) }
func (f *file) SyncData() error { return f.points.around(f.point+".sync", f.File.SyncData) }

func (f *file) SyncTo(length int64) (full bool, err error) {
	err = f.points.around(f.point+".sync", func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *file) Preallocate(off, length int64) error {
	return f.points.around(f.point+".write", func() error { return f.File.Preallocate(off, length) })
}
