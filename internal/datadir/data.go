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
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// Data is an open data folder and everything in it.
type Data struct {
	Store store.Store
	// Embedded or Etcd is Store, depending on the settings; the other is nil.
	Embedded *pebblestore.Store
	Etcd     *etcdstore.Store
	Audit    *audit.Log
	Keep     *keep.Keep
	// Reserve is keep.Config's. It is set before Open.
	Reserve func(ctx context.Context, bytes int64) error

	dir     *dataDir
	keys    *openedKeys      // as they were opened
	shared  *keep.SharedKeys // nil if the folder holds the keyset
	newKeys *newKeys         // for a new folder, nil otherwise
	saved   *savedKeys
	newLog  bool // created by this start
	// temporary is a folder that Close removes, "" for none.
	temporary string
	faults    faults // none except in tests
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
	if c.Store == config.StoreEtcd {
		return d, nil // the keys are in etcd
	}
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
	kc := keep.Config{
		Logger:         logger,
		HashAuditNames: c.AuditNames == config.NamesHashed,
		DropGuard:      c.DropGuard,
		SessionLength:  c.SessionLength,
		PasswordCost:   c.PasswordCost,
		Reserve:        d.Reserve,
	}
	if c.Store == config.StoreEtcd {
		err = d.openShared(ctx, c, kc)
	} else {
		err = d.openOwn(ctx, c, kc)
	}
	if err == nil {
		d.dir.nameHolder()
	}
	return err
}

// openOwn opens a folder that holds the data.
func (d *Data) openOwn(ctx context.Context, c *config.Config, kc keep.Config) (err error) {
	if d.newKeys != nil {
		if d.keys, err = d.newKeys.write(ctx, d.dir, c); err != nil {
			return err
		}
	}
	d.saved = saveKeysIn(d.dir, d.keys, kc.Logger)
	if err := d.openAudit(c, kc.Logger); err != nil {
		return err
	}
	if err := d.openStore(kc.Logger); err != nil {
		return err
	}
	kc.SaveKeys, kc.WrappedKeys = d.saved.save, d.saved.wrapped
	if err := d.openKeep(ctx, kc); err != nil {
		return err
	}
	if d.newKeys != nil {
		return d.dir.finish()
	}
	if err := os.Remove(d.dir.file(previousName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// The keyset has been opened, so the previous one is no longer needed.
		kc.Logger.Warn("the previous keyset can't be deleted", "error", err)
	}
	return nil
}

// openShared opens the folder of a server whose data is in etcd.
func (d *Data) openShared(ctx context.Context, c *config.Config, kc keep.Config) error {
	if err := d.openServer(ctx, c, kc.Logger); err != nil {
		return err
	}
	d.saved = saveKeysIn(d.dir, d.keys, kc.Logger)
	d.saved.shared = d.Store
	if err := d.openAudit(c, kc.Logger); err != nil {
		return err
	}
	d.shared.Wrap = d.saved.wrap
	kc.SharedKeys = d.shared
	kc.Cluster = member{d.dir.server, d.Etcd}
	if err := d.openKeep(ctx, kc); err != nil {
		return err
	}
	if d.dir.state == stateWhole {
		return nil
	}
	return d.dir.finish()
}

func (d *Data) openKeep(ctx context.Context, kc keep.Config) (err error) {
	kc.Now = d.faults.now()
	kc.Store, kc.Keys, kc.Audit = d.faults.changes(d.Store), d.keys.Keys, d.Audit
	d.Keep, err = keep.Open(ctx, kc)
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

func (d *Data) openStore(logger *slog.Logger) error {
	return d.openEmbedded(&pebblestore.Options{Logger: logger, FS: d.faults.store()})
}

func (d *Data) openEmbedded(o *pebblestore.Options) (err error) {
	if d.Embedded, err = pebblestore.Open(d.dir.file(storeName), o); err != nil {
		return err
	}
	d.Store = d.Embedded
	return nil
}

// readStore opens the store for a tool that only reads. It writes nothing, so
// it works on a full disk.
func (d *Data) readStore() error {
	return d.openEmbedded(&pebblestore.Options{ReadOnly: true})
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
	errs = append(errs, d.closeStore())
	if d.dir != nil {
		errs = append(errs, d.dir.close())
	}
	if d.temporary != "" {
		errs = append(errs, os.RemoveAll(d.temporary))
	}
	return errors.Join(errs...)
}

func (d *Data) closeStore() error {
	s := d.Store
	if s == nil {
		return nil
	}
	d.Store = nil
	return s.Close()
}

// discardLog is for commands, which report errors themselves.
func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
