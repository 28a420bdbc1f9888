package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// AuditCheckpoint returns the place in the audit log that the store of a data
// folder vouches for, zero when there is none yet. It is for who verifies the
// log without the server. The error is ErrLocked while a server has the folder
// open, and fs.ErrNotExist when there is no data in it or its key file is not
// at hand.
func AuditCheckpoint(ctx context.Context, c *Config) (at audit.Checkpoint, err error) {
	path, err := filepath.Abs(c.DataDir)
	if err != nil {
		return at, fmt.Errorf("open the data folder: %w", err)
	}
	p := new(parts)
	defer func() { err = errors.Join(err, p.close()) }()
	if p.folder, err = openFolder(path, c.ownFiles()); err != nil {
		return at, err
	}
	if p.folder.state != folderWhole {
		return at, fmt.Errorf("%s holds no data: %w", path, fs.ErrNotExist)
	}
	if err := p.folder.checkStore(); err != nil {
		return at, err
	}
	if p.keys, err = openKeys(ctx, p.folder, c); err != nil {
		return at, err
	}
	if err := p.openStore(discardLog()); err != nil {
		return at, err
	}
	return keep.AuditCheckpoint(ctx, p.store, p.keys)
}
