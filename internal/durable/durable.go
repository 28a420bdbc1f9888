// Package durable makes files and folders that survive a crash. When one of
// its functions returns nil, the change is on the disk, name and all. Whatever
// it makes is readable by its owner alone, whatever the umask.
//
// It knows nothing about what the files hold.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// TempSuffix ends the name of the file that ReplaceFile writes before it gets
// its final name. A crash may leave one behind.
const TempSuffix = ".new"

// ErrLocked is returned by Lock when another open file holds the lock.
var ErrLocked = errors.New("in use by another process")

// CreateFile creates a file for reading and writing. It fails when the name
// exists, even as a symbolic link to nothing. The name becomes durable with
// SyncDir or Rename.
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

// CreateTemp creates a file whose name, in dir, is its own. It's for Rename.
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

// WriteNewFile writes a file that must not exist yet. When it fails, it leaves
// no file; a crash may leave a part of one.
func WriteNewFile(path string, content []byte) error {
	if err := write(path, content); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// ReplaceFile writes a file, in place of the one that may be there. After a
// crash, path holds the old content or the new. A symbolic link is replaced,
// not followed. Only one process at a time may replace the same file.
func ReplaceFile(path string, content []byte) error {
	temp := path + TempSuffix
	err := write(temp, content)
	if errors.Is(err, fs.ErrExist) { // left by a crash
		if err := os.Remove(temp); err != nil {
			return err
		}
		err = write(temp, content)
	}
	if err != nil {
		return err
	}
	return Rename(temp, path)
}

// write creates a file with its content synced, but not its name. When it
// fails, it leaves no file.
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

// Rename gives a file whose content is synced another name in the same folder,
// in place of the file that may have it.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// MkdirAll creates a folder and the folders above it that are missing.
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
		return SyncDir(parent) // somebody was faster
	} else if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	return SyncDir(parent)
}
