package pebblestore

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// A disk is the file system as one generation of the engine sees it. It sits
// between the engine and the real file system for three reasons:
//
// The engine can't handle a failed write to its log, its manifest or a marker:
// it panics with locks held, or ends the process. So the disk records such an
// error and reports success to the engine. From then on nothing that the
// engine does reaches the real file system, as if the machine had stopped at
// that moment, and a new generation replaces this one. The committer checks
// failure before it trusts a sync.
//
// It records in the ledger what was synced (see integrity).
//
// It keeps the tables of a failed generation while that still serves reads.
type disk struct {
	vfs.FS
	dir      string
	onFail   func(error) // called once, from any goroutine
	ledger   *integrity.Ledger
	deferred *deferredRemovals
	files    *presence

	failed  atomic.Pointer[error]
	closing chan struct{} // closed when the engine is about to be closed

	// opening is set until the engine is open. While it opens, an engine would
	// retry forever to flush its log to tables, and leave work behind if it
	// gave up, so until then no file operation may fail.
	opening atomic.Bool
	listed  atomic.Bool // the folder was listed

	// gate is held for reading during changes to the real file system, so that
	// fail can wait for them.
	gate sync.RWMutex

	newestLog atomic.Pointer[vitalFile]

	logMu   sync.Mutex // held while the file of an old log is changed
	noReuse bool
}

var errStopped = errors.New("the store stopped writing after a failure")

// stalePause slows down the engine's retries of work that can't succeed.
const stalePause = 200 * time.Millisecond

func newDisk(fs vfs.FS, dir string, g *integrity.Ledger, files *presence, deferred *deferredRemovals, onFail func(error)) *disk {
	d := &disk{FS: fs, dir: dir, ledger: g, files: files, deferred: deferred, onFail: onFail, closing: make(chan struct{})}
	d.opening.Store(true)
	return d
}

// failure returns why the disk has stopped, or nil.
func (d *disk) failure() error {
	if p := d.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// fail stops the disk because of err.
func (d *disk) fail(err error) {
	if d.failed.CompareAndSwap(nil, &err) {
		d.onFail(err)
	}
}

// checkFiles stops the disk if its files are missing.
func (d *disk) checkFiles() {
	if d.failure() != nil {
		return
	}
	if err := d.files.check(); err != nil {
		d.fail(err)
	}
}

// drain waits for changes in progress on a failed disk.
func (d *disk) drain() {
	d.gate.Lock()
	//lint:ignore SA2001 an empty section is the point
	d.gate.Unlock()
}

// change runs fn, which changes the real file system, unless the disk has
// stopped. An error from fn stops the disk and is hidden from the engine.
func (d *disk) change(fn func() error) {
	d.gate.RLock()
	defer d.gate.RUnlock()
	if d.failure() != nil {
		return
	}
	if err := fn(); err != nil {
		d.fail(err)
	}
}

// try is like change for work that the engine can do without: it returns an
// error to the engine, which retries later.
func (d *disk) try(fn func() error) error {
	err := d.tryNow(fn)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
		select {
		case <-time.After(stalePause):
		case <-d.closing:
		}
	}
	return err
}

func (d *disk) tryNow(fn func() error) error {
	d.gate.RLock()
	defer d.gate.RUnlock()
	if d.failure() != nil {
		return errStopped
	}
	return fn()
}

// Create implements vfs.FS.
func (d *disk) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(name, func() (vfs.File, error) { return d.FS.Create(name, cat) })
}

// ReuseForWrite implements vfs.FS. Only logs are reused.
func (d *disk) ReuseForWrite(oldname, newname string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(newname, func() (vfs.File, error) {
		d.logMu.Lock()
		defer d.logMu.Unlock()
		if err := d.ledger.DropLog(d.FS.PathBase(oldname)); err != nil {
			return nil, err
		}
		d.files.drop(oldname)
		if d.noReuse {
			if err := d.FS.Remove(oldname); err != nil {
				return nil, err
			}
			return d.FS.Create(newname, cat)
		}
		return d.FS.ReuseForWrite(oldname, newname, cat)
	})
}

// freshLogs makes each new log a new file instead of reusing an old one with
// its content.
func (d *disk) freshLogs(on bool) {
	d.logMu.Lock()
	defer d.logMu.Unlock()
	d.noReuse = on
}

// emptyLogsBefore empties the logs older than newest, which are no longer
// needed.
func (d *disk) emptyLogsBefore(dir, newest string) error {
	limit, _ := integrity.LogNumber(newest)
	return d.tryNow(func() error {
		d.logMu.Lock()
		defer d.logMu.Unlock()
		names, err := d.FS.List(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if n, ok := integrity.LogNumber(name); !ok || n >= limit {
				continue
			}
			// Create replaces the old file with a new one.
			path := d.FS.PathJoin(dir, name)
			d.files.drop(path)
			f, err := d.FS.Create(path, vfs.WriteCategoryUnspecified)
			if err != nil {
				return err
			}
			d.files.add(path)
			if err := f.Close(); err != nil {
				return err
			}
		}
		return integrity.SyncDir(d.FS, dir)
	})
}

func (d *disk) open(name string, create func() (vfs.File, error)) (vfs.File, error) {
	kind := integrity.KindOf(d.FS, name)
	open := func() (vfs.File, error) {
		d.files.drop(name)
		f, err := create()
		if err == nil {
			err = integrity.MakePrivate(f)
		}
		if err == nil {
			d.files.add(name)
		}
		return f, err
	}
	var f vfs.File
	if kind == integrity.TableFile && !d.opening.Load() {
		err := d.try(func() (err error) {
			f, err = open()
			return err
		})
		if err != nil {
			return nil, err
		}
		return &tableWriter{File: f, disk: d}, nil
	}
	d.change(func() (err error) {
		f, err = open()
		return err
	})
	v := &vitalFile{file: f, disk: d, kind: kind, name: d.FS.PathBase(name)}
	if f != nil {
		d.ledger.Created(kind, v.name)
		if kind == integrity.LogFile {
			d.newestLog.Store(v)
		}
	}
	return v, nil
}

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	d.files.drop(name)
	switch kind, base := integrity.KindOf(d.FS, name), d.FS.PathBase(name); kind {
	case integrity.TableFile:
		return d.tryNow(func() error { return d.deferred.remove(d.FS, name) })
	default:
		// The engine does not need to know whether the removal succeeded.
		d.change(func() error {
			if kind == integrity.LogFile {
				if err := d.ledger.DropLog(base); err != nil {
					return err
				}
			}
			if err := d.FS.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		})
		return nil
	}
}

// List implements vfs.FS.
func (d *disk) List(dir string) ([]string, error) {
	names, err := d.FS.List(dir)
	if err != nil && d.opening.Load() && d.listed.Load() {
		d.fail(err)
		return nil, nil
	}
	d.listed.Store(true)
	return names, err
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	return d.tryNow(func() error { return d.FS.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	rename := func() error {
		d.files.drop(oldname)
		d.files.drop(newname)
		if err := d.FS.Rename(oldname, newname); err != nil {
			return err
		}
		d.files.add(newname)
		return nil
	}
	if d.opening.Load() {
		d.change(rename)
		return nil
	}
	return d.tryNow(rename)
}

// Link implements vfs.FS.
func (d *disk) Link(oldname, newname string) error {
	return d.tryNow(func() error { return d.FS.Link(oldname, newname) })
}

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.tryNow(func() error { return d.FS.MkdirAll(dir, perm) })
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, cat vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	var f vfs.File
	err := d.tryNow(func() (err error) {
		f, err = d.FS.OpenReadWrite(name, cat, opts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &tableWriter{File: f, disk: d}, nil
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &directory{File: f, disk: d}, nil
}

// Lock implements vfs.FS. The store holds the real lock across generations.
func (d *disk) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

type noLock struct{}

func (noLock) Close() error { return nil }
