package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// errNoData says that a folder is missing, empty or incomplete.
var errNoData = fmt.Errorf("holds no data: %w", fs.ErrNotExist)

// lockWhole locks a stopped server's data folder. The error is ErrLocked if a
// server has it open, and fs.ErrNotExist if there is no data.
func lockWhole(c *config.Config) (*dataDir, error) {
	dir, err := lockDir(c)
	if err != nil {
		return nil, err
	}
	if dir.state != stateWhole {
		return nil, errors.Join(fmt.Errorf("%s %w", dir.path, errNoData), dir.close())
	}
	return dir, nil
}

// unlockOffline unlocks the data of a stopped server for an audited change.
func unlockOffline(ctx context.Context, c *config.Config) (*Data, error) {
	if c.AuditLog == "-" {
		return nil, errAuditStream
	}
	if c.Store == config.StoreEtcd {
		return Unlock(ctx, c) // on the first start of its server, too
	}
	dir, err := lockWhole(c)
	if err != nil {
		return nil, err
	}
	return unlockDir(ctx, dir, c)
}

// openOffline opens a stopped server's folder, keys and store for reading, but
// neither the audit log nor the Keep.
func openOffline(ctx context.Context, c *config.Config) (d *Data, err error) {
	if c.Store == config.StoreEtcd {
		return openReader(ctx, c)
	}
	d = new(Data)
	defer func() {
		if err != nil {
			_ = d.Close() // the first error says more
			d = nil
		}
	}()
	if d.dir, err = lockWhole(c); err != nil {
		return d, err
	}
	if err := d.dir.checkStore(); err != nil {
		return d, err
	}
	if d.keys, err = openKeys(ctx, d.dir, c); err != nil {
		return d, err
	}
	return d, d.readStore()
}

// AuditCheckpoint returns the position up to which a data folder's store vouches
// for the audit log, zero if there is none yet. It is for verifying the log without
// the server. The error is ErrLocked while a server has the folder open, and
// fs.ErrNotExist if it has no data or its key file is missing.
func AuditCheckpoint(ctx context.Context, c *config.Config) (at audit.Checkpoint, err error) {
	d, err := openOffline(ctx, c)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	server, err := serverOf(c)
	if err != nil {
		return at, err
	}
	return keep.AuditCheckpoint(ctx, d.Store, d.keys.Keys, d.shared, server)
}

// AuditLog returns a page of a stopped server's audit log, with the names that its
// store has. The error is ErrLocked while a server has the folder open, and
// fs.ErrNotExist if it has no data or its key file is missing.
func AuditLog(ctx context.Context, c *config.Config, q keep.AuditQuery) (page keep.AuditPage, err error) {
	d, err := openOffline(ctx, c)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return keep.AuditLogOffline(ctx, d.Store, d.keys.Keys, d.shared, c.AuditLog, q)
}
