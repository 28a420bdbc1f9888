package server

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
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// Restored says what Restore has put into a data folder.
type Restored struct {
	Records int
	Created time.Time // of the backup
	Key     seal.Info // the key-encryption key that it needs
}

// Restore puts a backup into a data folder that is empty or not there. It
// first reads the whole backup and opens every record of it, before it writes
// anything; when it fails, nothing has changed.
func Restore(ctx context.Context, c *Config, file io.ReadSeeker) (done Restored, err error) {
	p := new(parts)
	defer func() { err = errors.Join(err, p.close()) }()
	// The key may lie there already, where a server looks for it.
	if p.folder, err = openFolder(c, c.keyFile()); err != nil {
		return done, err
	}
	if p.folder.state != folderEmpty {
		return done, fmt.Errorf("%s is not empty: a backup is restored into a folder of its own", p.folder.path)
	}
	var keyset []byte
	done.Records, err = keep.VerifyBackup(ctx, file, func(h backup.Header) (*seal.Keys, error) {
		needed, err := seal.Describe(h.Keyset)
		if err != nil {
			return nil, err
		}
		if p.keys, err = unlock(ctx, h.Keyset, c); err != nil {
			return nil, &BackupKeyError{needed, err}
		}
		keyset, done.Created, done.Key = h.Keyset, h.Created, needed
		return p.keys.Keys, nil
	})
	if err != nil {
		return done, fmt.Errorf("verify the backup: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return done, fmt.Errorf("read the backup again: %w", err)
	}
	return done, p.restore(ctx, keyset, file)
}

// BackupKeyError says that a backup does not open with the key at hand.
type BackupKeyError struct {
	Needed seal.Info
	err    error
}

func (e *BackupKeyError) Error() string {
	return fmt.Sprintf("it needs the key-encryption key of kind %s with ID %s: %v", e.Needed.Kind, e.Needed.KeyID, e.err)
}

func (e *BackupKeyError) Unwrap() error { return e.err }

// restore writes what was verified. What it has made it removes again when it
// fails. When the process is killed in between, the folder says what happened,
// and no server takes it for data.
func (p *parts) restore(ctx context.Context, keyset []byte, file io.Reader) (err error) {
	made := missingFolders(p.folder.path)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.takeBack(made))
		}
	}()
	if err := p.folder.begin(); err != nil {
		return err
	}
	if err := p.folder.writeFormat(formatRestoring); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := writeFile(p.folder.file(keysetName), keyset); err != nil {
		return fmt.Errorf("write the keyset: %w", err)
	}
	if err := p.openStore(discardLog()); err != nil {
		return err
	}
	if err := keep.Restore(ctx, file, p.store); err != nil {
		return err
	}
	s := p.store
	p.store = nil
	if err := s.Close(); err != nil {
		return err
	}
	return p.folder.finish()
}

// missingFolders lists a folder and those above it that are not there yet,
// the deepest first.
func missingFolders(path string) (missing []string) {
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return missing
		}
		missing = append(missing, path)
		path = filepath.Dir(path)
	}
}

// takeBack removes what a restore that failed has made.
func (p *parts) takeBack(folders []string) error {
	var errs []error
	if p.store != nil {
		errs = append(errs, p.store.Close())
		p.store = nil
	}
	f := p.folder
	// format goes last: as long as it is there, it tells what the rest is.
	for _, name := range []string{storeName, keysetName, keysetName + newSuffix, formatName + newSuffix, formatName} {
		errs = append(errs, os.RemoveAll(f.file(name)))
	}
	for _, folder := range folders {
		if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
