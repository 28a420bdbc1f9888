//go:build !windows

package datadir

import (
	"errors"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/durable"
)

// openLock opens the folder itself, which is then locked. So a command that finds
// it in use leaves no file behind, and locking works on a full disk.
func openLock(dir string) (*os.File, error) { return os.Open(dir) }

func (d *dataDir) writeHolder(text string) error {
	_ = os.Remove(d.file(lockName)) // left by a process that was killed
	f, err := durable.CreateFile(d.file(lockName))
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
