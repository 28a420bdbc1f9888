package datadir

import (
	"errors"
	"os"
	"path/filepath"
)

// openLock opens the file to lock, since Windows can't lock folders.
func openLock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
}

func (d *dataDir) writeHolder(text string) error {
	_, err := d.lock.WriteAt([]byte(text), 0)
	return errors.Join(err, d.lock.Truncate(int64(len(text))))
}
