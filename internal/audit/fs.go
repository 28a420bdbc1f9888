package audit

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/durable"
)

// FS is what the log needs of a file system to write. Tests break it.
type FS interface {
	// Open is os.OpenFile; only its owner can read a file that it creates.
	Open(path string, flag int) (File, error)
	Stat(path string) (fs.FileInfo, error)
	Rename(from, to string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Free returns how many bytes can be written before the disk that holds
	// dir is full.
	Free(dir string) (uint64, error)
}

// File is a file of an FS.
type File interface {
	io.Writer
	io.ReaderAt
	io.WriterAt
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Datasync() error // what was written is durable, and so is the file's size
	Lock() error     // ErrLocked when another process holds it
	Close() error
}

// OS is the file system of the operating system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Stat(path string) (fs.FileInfo, error) { return os.Stat(path) }
func (osFS) Rename(from, to string) error          { return os.Rename(from, to) }
func (osFS) SyncDir(dir string) error              { return durable.SyncDir(dir) }
func (osFS) Free(dir string) (uint64, error)       { return free(dir) }

type osFile struct{ *os.File }

func (f osFile) Datasync() error { return datasync(f.File) }

// Lock succeeds where the file system has no locks.
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
