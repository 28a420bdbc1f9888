// Package durable creates files and folders that survive a crash. When one of
// its functions returns nil, the change is on disk, including the name. Only
// the owner can read what it creates, whatever the umask.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// TempSuffix is appended to the name of the temporary file that ReplaceFile
// writes first. A crash can leave such a file behind.
const TempSuffix = ".new"

// ErrLocked is returned by Lock when another open file holds the lock.
var ErrLocked = errors.New("in use by another process")

// CreateFile creates a file for reading and writing. It fails if the name
// exists, even as a dangling symbolic link. SyncDir makes the name durable.
func CreateFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

// CreateTemp creates a file with a unique name in dir, for use with Commit.
func CreateTemp(dir, pattern string) (*os.File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// Commit syncs and closes a file, and gives it its final name in the same folder,
// replacing any file of that name. If that fails, or err says that writing the content
// did, it removes the file.
func Commit(f *os.File, path string, err error) error {
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(filepath.Dir(path))
}

// WriteNewFile writes a file that must not exist yet. If it fails, it removes
// the file; a crash can leave a partial one.
func WriteNewFile(path string, content []byte) error {
	if err := write(path, content); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// ReplaceFile creates or replaces a file. After a crash, path has the old or
// the new content. A symbolic link is replaced, not followed. Only one process
// at a time may replace the same file.
func ReplaceFile(path string, content []byte) error {
	temp := path + TempSuffix
	err := write(temp, content)
	if errors.Is(err, fs.ErrExist) { // left behind by a crash
		if err := os.Remove(temp); err != nil {
			return err
		}
		err = write(temp, content)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// write creates a file and syncs its content, but not its name. If it fails,
// it removes the file.
func write(path string, content []byte) error {
	f, err := CreateFile(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// MkdirAll creates a folder and its missing parents.
func MkdirAll(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("not a directory")}
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := MkdirAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return SyncDir(parent) // created concurrently
	} else if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	return SyncDir(parent)
}
