// Package datadir opens the folder that holds everything a server stores, and has
// the tools that work on it while no server does: check, restore, rewrap,
// recover and import.
package datadir

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// Data is a data folder that this process has open, and everything in it.
type Data struct {
	Store *pebblestore.Store
	Audit *audit.Log
	Keep  *keep.Keep

	dir  *dataDir
	keys *openedKeys
	// What was made by this start.
	newLog, newFolder bool
	faults            faults // none, but in tests
}

// Open opens the data folder and all in it, or makes it on a first start.
func Open(ctx context.Context, c *config.Config, logger *slog.Logger) (*Data, error) {
	dir, err := lockDir(c)
	if err != nil {
		return nil, err
	}
	return openDir(ctx, dir, c, logger)
}

// openDir opens all in a folder, or makes it. When it fails, it closes the
// folder.
//
// What can be wrong is looked for first where looking changes nothing: format,
// keyset, key, audit log, and last the store, which looks for itself before it
// changes anything. So a start that finds one of them damaged leaves the folder
// as it was.
func openDir(ctx context.Context, dir *dataDir, c *config.Config, logger *slog.Logger) (d *Data, err error) {
	d = &Data{dir: dir, faults: newFaults()}
	defer func() {
		if err != nil {
			d.undo(c)
			d = nil
		}
	}()
	if err := d.dir.checkStore(); err != nil {
		return d, err
	}
	d.newFolder = d.dir.state != stateWhole
	if !d.newFolder {
		d.keys, err = openKeys(ctx, d.dir, c)
	} else {
		d.keys, err = makeKeys(ctx, d.dir, c)
	}
	if err != nil {
		return d, err
	}
	if err := d.openAudit(c, logger); err != nil {
		return d, err
	}
	if err := d.openStore(logger); err != nil {
		return d, err
	}
	d.Keep, err = keep.Open(ctx, keep.Config{
		Store: d.Store, Keys: d.keys.Keys, Audit: d.Audit, Logger: logger,
		SaveKeys: func(ctx context.Context, keys *seal.Keys) error {
			return saveKeys(ctx, d.dir, keys, d.keys.provider)
		},
		HashAuditNames: c.AuditNames == config.NamesHashed,
		DropGuard:      c.DropGuard,
		SessionLength:  c.SessionLength,
		PasswordCost:   c.PasswordCost,
	})
	if err != nil {
		return d, err
	}
	if d.newFolder {
		if err := d.dir.finish(); err != nil {
			return d, err
		}
	}
	return d, nil
}

// Path returns the folder's absolute path.
func (d *Data) Path() string { return d.dir.path }

// HoldsKey reports whether the key-encryption key lies in the folder, beside
// the data that it protects.
func (d *Data) HoldsKey(c *config.Config) bool { return d.dir.hasKey(c) }

// Keyset returns the wrapped data keys as they stand in the folder.
func (d *Data) Keyset() ([]byte, error) { return readKeyset(d.dir) }

func (d *Data) openAudit(c *config.Config, logger *slog.Logger) (err error) {
	size := c.AuditMaxSize
	if size == 0 {
		size = -1
	}
	_, missing := os.Stat(c.AuditLog)
	d.newLog = errors.Is(missing, fs.ErrNotExist)
	d.Audit, err = audit.Open(c.AuditLog, &audit.Options{MaxBytes: size, Logger: logger, FS: d.faults.audit()})
	return err
}

func (d *Data) openStore(logger *slog.Logger) (err error) {
	d.Store, err = pebblestore.Open(d.dir.file(storeName), &pebblestore.Options{Logger: logger, FS: d.faults.store()})
	return err
}

// readStore opens the store for a tool that only reads. It writes nothing, so
// it works on a full disk.
func (d *Data) readStore() (err error) {
	d.Store, err = pebblestore.Open(d.dir.file(storeName), &pebblestore.Options{ReadOnly: true})
	return err
}

// undo closes what a start has opened that failed. The first error says more
// than those that come here.
func (d *Data) undo(c *config.Config) {
	empty := d.newLog && d.Audit != nil && d.Audit.Head() == audit.Checkpoint{}
	_ = d.Close()
	if empty {
		_ = os.Remove(c.AuditLog)
	}
}

// Close closes what is open, in the opposite order.
func (d *Data) Close() error {
	var errs []error
	if d.Keep != nil {
		errs = append(errs, d.Keep.Close())
	}
	if d.Audit != nil {
		errs = append(errs, d.Audit.Close())
	}
	if d.Store != nil {
		errs = append(errs, d.Store.Close())
	}
	if d.dir != nil {
		errs = append(errs, d.dir.close())
	}
	return errors.Join(errs...)
}

// discardLog is for commands, which report on their own.
func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
