package audit

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/durable"
)

// FS is the file system that the log writes to. Tests inject failures.
type FS interface {
	// Open is os.OpenFile; only the owner can read a file that it creates.
	Open(path string, flag int) (File, error)
	Stat(path string) (fs.FileInfo, error)
	Rename(from, to string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Free returns how many bytes can be written to the disk that holds dir.
	Free(dir string) (uint64, error)
}

// File is an open file of an FS.
type File interface {
	io.Writer
	io.ReaderAt
	io.WriterAt
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Datasync() error // makes the file's data and size durable
	Lock() error     // ErrLocked if another process has the lock
	Close() error
}

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	if flag&os.O_CREATE != 0 {
		if err := undoUmask(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return osFile{f}, nil
}

// undoUmask makes sure that the owner can open the file again.
func undoUmask(f *os.File) error {
	const owner = 0o600
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode()&owner == owner {
		return err
	}
	return f.Chmod(info.Mode().Perm() | owner)
}

func (osFS) Stat(path string) (fs.FileInfo, error) { return os.Stat(path) }
func (osFS) Rename(from, to string) error          { return os.Rename(from, to) }
func (osFS) SyncDir(dir string) error              { return durable.SyncDir(dir) }
func (osFS) Free(dir string) (uint64, error)       { return free(dir) }

type osFile struct{ *os.File }

func (f osFile) Datasync() error { return datasync(f.File) }

// Lock succeeds if the file system has no locks.
func (f osFile) Lock() error {
	err := durable.Lock(f.File)
	switch {
	case errors.Is(err, durable.ErrLocked):
		return ErrLocked
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	}
	return err
}
