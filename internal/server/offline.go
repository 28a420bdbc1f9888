package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// errNoData says that a folder is not there, is empty, or was never made whole.
var errNoData = fmt.Errorf("holds no data: %w", fs.ErrNotExist)

// lockData locks a data folder that has data and that no server has open. The
// error is ErrLocked when one has, and fs.ErrNotExist when there is no data.
func lockData(c *Config) (*folder, error) {
	f, err := openFolder(c)
	if err != nil {
		return nil, err
	}
	if f.state != folderWhole {
		return nil, errors.Join(fmt.Errorf("%s %w", f.path, errNoData), f.close())
	}
	return f, nil
}

// openData opens the folder, the keys and the store of a server that is
// stopped, but neither the audit log nor the domain.
func openData(ctx context.Context, c *Config) (p *parts, err error) {
	p = new(parts)
	defer func() {
		if err != nil {
			_ = p.close() // the first error says more
			p = nil
		}
	}()
	if p.folder, err = lockData(c); err != nil {
		return p, err
	}
	if err := p.folder.checkStore(); err != nil {
		return p, err
	}
	if p.keys, err = openKeys(ctx, p.folder, c); err != nil {
		return p, err
	}
	return p, p.openStore(discardLog())
}

// AuditCheckpoint returns the place in the audit log that the store of a data
// folder vouches for, zero when there is none yet. It is for who verifies the
// log without the server. The error is ErrLocked while a server has the folder
// open, and fs.ErrNotExist when there is no data in it or its key file is not
// at hand.
func AuditCheckpoint(ctx context.Context, c *Config) (at audit.Checkpoint, err error) {
	p, err := openData(ctx, c)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return keep.AuditCheckpoint(ctx, p.store, p.keys)
}
