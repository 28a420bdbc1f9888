package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// RestoreResult describes the restored backup.
type RestoreResult struct {
	Records int
	Created time.Time // of the backup
	Key     seal.Info // the key-encryption key that it needs
}

// Restore puts a backup into a data folder that is empty or doesn't exist, or into an
// empty store in etcd. Before it writes anything, it reads the whole backup and opens
// every record. If it fails, nothing has changed.
func Restore(ctx context.Context, c *config.Config, file io.ReadSeeker) (done RestoreResult, err error) {
	d := new(Data)
	defer func() { err = errors.Join(err, d.Close()) }()
	if c.Store != config.StoreEtcd {
		// The key may lie there already, where a server looks for it.
		if d.dir, err = lockDir(c, c.KeyFile()); err != nil {
			return done, err
		}
		if d.dir.state != stateEmpty {
			return done, fmt.Errorf("%s is not empty: a backup is restored into a folder of its own", d.dir.path)
		}
	}
	var keyset []byte
	done.Records, err = keep.VerifyBackup(ctx, file, func(h backup.Header) (*seal.Keys, error) {
		needed, err := seal.Describe(h.Keyset)
		if err != nil {
			return nil, err
		}
		if d.keys, err = unlock(ctx, h.Keyset, c.SealConfig()); err != nil {
			return nil, &BackupKeyError{needed, err}
		}
		keyset, done.Created, done.Key = h.Keyset, h.Created, needed
		return d.keys.Keys, nil
	})
	if err != nil {
		return done, fmt.Errorf("verify the backup: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return done, fmt.Errorf("read the backup again: %w", err)
	}
	if c.Store == config.StoreEtcd {
		return done, restoreEtcd(ctx, c, d.keys.Keys, keyset, file)
	}
	return done, d.restore(ctx, keyset, file)
}

// BackupKeyError says that the configured key doesn't open a backup.
type BackupKeyError struct {
	Needed seal.Info
	err    error
}

func (e *BackupKeyError) Error() string {
	return fmt.Sprintf("it needs the key-encryption key of kind %s with ID %s: %v", e.Needed.Kind, e.Needed.KeyID, e.err)
}

func (e *BackupKeyError) Unwrap() error { return e.err }

// restore writes a verified backup. If it fails, it removes everything it has
// created. If the process is killed, the folder stays marked as an unfinished
// restore, which no server opens.
func (d *Data) restore(ctx context.Context, keyset []byte, file io.Reader) (err error) {
	made := missingFolders(d.dir.path)
	defer func() {
		if err != nil {
			err = errors.Join(err, d.removeCreated(made))
		}
	}()
	if err := d.dir.begin(); err != nil {
		return err
	}
	if err := d.dir.writeFormat(formatRestoring); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := durable.ReplaceFile(d.dir.file(keysetName), keyset); err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	if err := d.openStore(discardLog()); err != nil {
		return err
	}
	if err := keep.Restore(ctx, file, d.Store, d.keys.Keys); err != nil {
		return err
	}
	if err := d.closeStore(); err != nil {
		return err
	}
	return d.dir.finish()
}

// missingFolders lists a folder and its parents that don't exist yet, the deepest
// first.
func missingFolders(path string) (missing []string) {
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return missing
		}
		missing = append(missing, path)
		path = filepath.Dir(path)
	}
}

// removeCreated removes everything that a failed restore has created.
func (d *Data) removeCreated(folders []string) error {
	errs := []error{d.closeStore()}
	dir := d.dir
	// Remove format last: until then, it identifies the rest.
	for _, name := range []string{storeName, keysetName, keysetName + durable.TempSuffix, formatName + durable.TempSuffix, formatName} {
		errs = append(errs, os.RemoveAll(dir.file(name)))
	}
	for _, folder := range folders {
		if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
