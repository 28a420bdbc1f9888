// Package datadir opens the folder with all of a server's data. It also has the
// tools for a stopped server's data: check, restore, rewrap, recover and import.
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
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// Data is an open data folder and everything in it.
type Data struct {
	Store *pebblestore.Store
	Audit *audit.Log
	Keep  *keep.Keep
	// Reserve is keep.Config's. It is set before Open.
	Reserve func(ctx context.Context, bytes int64) error

	dir     *dataDir
	keys    *openedKeys // as they were opened
	newKeys *newKeys    // for a new folder, nil otherwise
	saved   *savedKeys
	newLog  bool   // created by this start
	faults  faults // none except in tests
}

// Unlock locks the data folder and opens its data keys; on a first start it creates
// new ones in memory. It may wait for the service that has the key-encryption key.
// It changes nothing.
func Unlock(ctx context.Context, c *config.Config) (*Data, error) {
	dir, err := lockDir(c)
	if err != nil {
		return nil, err
	}
	return unlockDir(ctx, dir, c)
}

// unlockDir is Unlock for a folder that is locked already. If it fails, it closes
// the folder.
func unlockDir(ctx context.Context, dir *dataDir, c *config.Config) (*Data, error) {
	d := &Data{dir: dir, faults: newFaults()}
	err := d.dir.checkStore()
	if err == nil && dir.state == stateWhole {
		d.keys, err = openKeys(ctx, dir, c)
	} else if err == nil {
		d.newKeys, err = prepareKeys(ctx, dir, c)
	}
	if err != nil {
		_ = d.Close() // the first error says more
		return nil, err
	}
	return d, nil
}

// Open opens the rest of an unlocked folder, or creates it. If it fails, it closes
// the folder.
//
// It checks everything before it changes anything: format, keyset, key, audit log,
// and last the store, which checks itself first. So a start that finds damage
// leaves the folder unchanged.
func (d *Data) Open(ctx context.Context, c *config.Config, logger *slog.Logger) (err error) {
	defer func() {
		if err != nil {
			d.undo(c)
		}
	}()
	if d.newKeys != nil {
		if d.keys, err = d.newKeys.write(ctx, d.dir, c); err != nil {
			return err
		}
	}
	d.saved = saveKeysIn(d.dir, d.keys, logger)
	if err := d.openAudit(c, logger); err != nil {
		return err
	}
	if err := d.openStore(logger); err != nil {
		return err
	}
	d.Keep, err = keep.Open(ctx, keep.Config{
		Store: d.Store, Keys: d.keys.Keys, Audit: d.Audit, Logger: logger,
		SaveKeys: d.saved.save, WrappedKeys: d.saved.wrapped,
		HashAuditNames: c.AuditNames == config.NamesHashed,
		DropGuard:      c.DropGuard,
		SessionLength:  c.SessionLength,
		PasswordCost:   c.PasswordCost,
		Reserve:        d.Reserve,
	})
	if err != nil {
		return err
	}
	if d.newKeys != nil {
		err = d.dir.finish()
	} else if rerr := os.Remove(d.dir.file(previousName)); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		// The keyset has been opened, so the previous one is no longer needed.
		logger.Warn("the previous keyset can't be deleted", "error", rerr)
	}
	d.dir.nameHolder()
	return err
}

// Path returns the folder's absolute path.
func (d *Data) Path() string { return d.dir.path }

// HoldsKey reports whether the key-encryption key is in the folder, next to the
// data that it protects.
func (d *Data) HoldsKey(c *config.Config) bool { return d.dir.hasKey(c) }

// CheckKeys updates the result of KeyHealth. It may wait for a service.
func (d *Data) CheckKeys(ctx context.Context) { d.saved.check(ctx) }

// KeyHealth returns the result of the last check without waiting.
func (d *Data) KeyHealth() KeyHealth { return *d.saved.health.Load() }

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

// undo closes everything that a failed start has opened. It ignores errors, since
// the first one matters.
func (d *Data) undo(c *config.Config) {
	empty := d.newLog && d.Audit != nil && d.Audit.Head() == audit.Checkpoint{}
	_ = d.Close()
	*d = Data{}
	if empty {
		_ = os.Remove(c.AuditLog)
	}
}

// Close closes everything in reverse order.
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

// discardLog is for commands, which report errors themselves.
func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
