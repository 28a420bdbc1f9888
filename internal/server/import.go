package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// Imported says what Import has done.
type Imported struct {
	keep.ImportReport
	Compared  keep.ImportComparison // the secrets, with those of the source
	NewFolder bool
	NewKey    string // the key file that was made, "" for none
}

// errAuditStream says why a command changes nothing: what reads the server's
// standard output does not read that of a command.
var errAuditStream = errors.New("the audit log goes to standard output: give the file that its lines are to be written to with --audit-log")

// Import takes over what in has into a data folder that no server has open.
// Without one, it makes it as a server's first start does. When it fails, the
// data is as it was.
func Import(ctx context.Context, c *Config, in keep.Import) (done Imported, err error) {
	if c.AuditLog == "-" {
		return done, errAuditStream
	}
	_, missing := os.Stat(c.keyFile())
	p, err := openParts(ctx, c, discardLog())
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	done.NewFolder = p.newFolder
	if p.newFolder && c.Key.Provider == seal.KindKeyFile && errors.Is(missing, fs.ErrNotExist) {
		done.NewKey = c.keyFile()
	}
	if done.ImportReport, err = p.keep.Import(ctx, keep.Offline(), in); err != nil {
		return done, fmt.Errorf("import: %w", err)
	}
	if done.Compared, err = p.keep.CompareSecrets(ctx, keep.Offline(), in); err != nil {
		return done, fmt.Errorf("compare the secrets: %w", err)
	}
	return done, nil
}

// PlanImport says what Import would do. It changes no data and makes no
// folder; newFolder says that Import would.
func PlanImport(ctx context.Context, c *Config, in keep.Import) (report keep.ImportReport, newFolder bool, err error) {
	p, err := openData(ctx, c)
	if errors.Is(err, errNoData) {
		newFolder = true
		if p, err = openNothing(ctx, c); err == nil {
			defer func() { err = errors.Join(err, os.RemoveAll(p.folder.path)) }()
		}
	}
	if err != nil {
		return report, newFolder, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	report, err = keep.PlanImport(ctx, p.store, p.keys.Keys, in)
	return report, newFolder, err
}

// openNothing opens what a first start would make, in a folder of its own with
// a key of its own, after it has made sure that there is a usable key.
func openNothing(ctx context.Context, c *Config) (p *parts, err error) {
	if _, err := seal.OpenProvider(ctx, c.keyConfig()); err != nil && !(c.Key.Provider == seal.KindKeyFile && errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fluxkeep-import-")
	if err != nil {
		return nil, err
	}
	p = new(parts)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(), os.RemoveAll(dir))
			p = nil
		}
	}()
	empty := NewConfig()
	empty.DataDir, empty.Key.Provider = dir, seal.KindKeyFile
	empty.Key.File = filepath.Join(dir, keyName)
	if p.folder, err = openFolder(empty); err != nil {
		return p, err
	}
	if p.keys, err = makeKeys(ctx, p.folder, empty); err != nil {
		return p, err
	}
	return p, p.openStore(discardLog())
}
