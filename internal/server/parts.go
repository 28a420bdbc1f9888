package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
)

// parts are what a server keeps its data with.
type parts struct {
	folder *folder
	keys   *openedKeys
	store  *pebblestore.Store
	audit  *audit.Log
	keep   *keep.Keep
	// What was made by this start.
	newLog, newFolder bool
	faults            faults // none, but in tests
}

// openParts opens the data folder and all in it, or makes it on a first start.
func openParts(ctx context.Context, c *Config, logger *slog.Logger) (*parts, error) {
	f, err := openFolder(c)
	if err != nil {
		return nil, err
	}
	return openIn(ctx, f, c, logger)
}

// openIn opens all in a folder, or makes it. When it fails, it closes the
// folder.
//
// What can be wrong is looked for first where looking changes nothing: format,
// keyset, key, audit log, and last the store, which looks for itself before it
// changes anything. So a start that finds one of them damaged leaves the folder
// as it was.
func openIn(ctx context.Context, f *folder, c *Config, logger *slog.Logger) (p *parts, err error) {
	p = &parts{folder: f, faults: newFaults()}
	defer func() {
		if err != nil {
			p.undo(c)
			p = nil
		}
	}()
	if err := p.folder.checkStore(); err != nil {
		return p, err
	}
	p.newFolder = p.folder.state != folderWhole
	if !p.newFolder {
		p.keys, err = openKeys(ctx, p.folder, c)
	} else {
		p.keys, err = makeKeys(ctx, p.folder, c)
	}
	if err != nil {
		return p, err
	}
	if err := p.openAudit(c, logger); err != nil {
		return p, err
	}
	if err := p.openStore(logger); err != nil {
		return p, err
	}
	p.keep, err = keep.Open(ctx, keep.Config{
		Store: p.store, Keys: p.keys.Keys, Audit: p.audit, Logger: logger,
		SaveKeys: func(ctx context.Context, keys *seal.Keys) error {
			return saveKeys(ctx, p.folder, keys, p.keys.provider)
		},
		HashAuditNames: c.AuditNames == namesHashed,
		DropGuard:      c.DropGuard,
		SessionLength:  c.SessionLength,
		PasswordCost:   c.testOnlyPasswordCost,
	})
	if err != nil {
		return p, err
	}
	if p.newFolder {
		if err := p.folder.finish(); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *parts) openAudit(c *Config, logger *slog.Logger) (err error) {
	size := c.AuditMaxSize
	if size == 0 {
		size = -1
	}
	_, missing := os.Stat(c.AuditLog)
	p.newLog = errors.Is(missing, fs.ErrNotExist)
	p.audit, err = audit.Open(c.AuditLog, &audit.Options{MaxBytes: size, Logger: logger, Hook: p.faults.audit()})
	return err
}

func (p *parts) openStore(logger *slog.Logger) (err error) {
	p.store, err = pebblestore.Open(p.folder.file(storeName), &pebblestore.Options{Logger: logger, FS: p.faults.store()})
	return err
}

// undo closes what a start has opened that failed. The first error says more
// than those that come here.
func (p *parts) undo(c *Config) {
	empty := p.newLog && p.audit != nil && p.audit.Head() == audit.Checkpoint{}
	_ = p.close()
	if empty {
		_ = os.Remove(c.AuditLog)
	}
}

// close closes what is open, in the opposite order.
func (p *parts) close() error {
	var errs []error
	if p.keep != nil {
		errs = append(errs, p.keep.Close())
	}
	if p.audit != nil {
		errs = append(errs, p.audit.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.folder != nil {
		errs = append(errs, p.folder.close())
	}
	return errors.Join(errs...)
}
