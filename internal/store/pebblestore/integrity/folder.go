package integrity

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/durable"
)

// MakeFolder creates dir and its missing parents durably.
func MakeFolder(fsys vfs.FS, dir string) error {
	if fsys == vfs.Default {
		return durable.MkdirAll(dir)
	}
	missing := []string{dir}
	parent := fsys.PathDir(dir)
	for parent != fsys.PathDir(parent) {
		if _, err := fsys.Stat(parent); err == nil {
			break
		}
		missing = append(missing, parent)
		parent = fsys.PathDir(parent)
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range missing {
		if err := SyncDir(fsys, fsys.PathDir(d)); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a folder durable.
func SyncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
