package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// ImportResult is the result of Import.
type ImportResult struct {
	keep.ImportReport
	Compared  keep.ImportComparison // the secrets, with those of the source
	NewFolder bool
	NewKey    string // the key file that was created, "" for none
}

// errAuditStream refuses a command if the audit log goes to standard output: the
// program that collects the server's output doesn't get the command's.
var errAuditStream = errors.New("the audit log goes to standard output: give the file that its lines are to be written to with --audit-log")

// Import imports in into a stopped server's data folder, which it creates if there
// is none, as a server's first start does. If it fails, the data is unchanged.
func Import(ctx context.Context, c *config.Config, in keep.Import) (done ImportResult, err error) {
	if c.AuditLog == "-" {
		return done, errAuditStream
	}
	_, missing := os.Stat(c.KeyFile())
	d, err := Unlock(ctx, c)
	if err != nil {
		return done, err
	}
	if err := d.Open(ctx, c, discardLog()); err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	done.NewFolder = d.newKeys != nil
	_, made := os.Stat(c.KeyFile())
	if made == nil && c.Key.Provider == seal.KindKeyFile && errors.Is(missing, fs.ErrNotExist) {
		done.NewKey = c.KeyFile()
	}
	if done.ImportReport, err = d.Keep.Import(ctx, keep.Offline(), in); err != nil {
		return done, fmt.Errorf("import: %w", err)
	}
	if done.Compared, err = d.Keep.CompareSecrets(ctx, keep.Offline(), in); err != nil {
		return done, fmt.Errorf("compare the secrets: %w", err)
	}
	return done, nil
}

// PlanImport reports what Import would do. It changes no data and creates no
// folder; newFolder says that Import would create one.
func PlanImport(ctx context.Context, c *config.Config, in keep.Import) (report keep.ImportReport, newFolder bool, err error) {
	d, err := openOffline(ctx, c)
	if errors.Is(err, errNoData) {
		newFolder = true
		d, err = openScratch(ctx, c)
	}
	if err != nil {
		return report, newFolder, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	report, err = keep.PlanImport(ctx, d.Store, d.keys.Keys, in)
	return report, newFolder, err
}

// openScratch opens a new data folder in a temporary place with a new key, after it
// has made sure that there is a usable key.
func openScratch(ctx context.Context, c *config.Config) (d *Data, err error) {
	if _, _, err := openProvider(ctx, c.SealConfig()); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fluxkeep-import-")
	if err != nil {
		return nil, err
	}
	d = &Data{temporary: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
			d = nil
		}
	}()
	empty := config.New()
	empty.DataDir, empty.Key.Provider = dir, seal.KindKeyFile
	if d.dir, err = lockDir(empty); err != nil {
		return d, err
	}
	fresh, err := prepareKeys(ctx, d.dir, empty)
	if err != nil {
		return d, err
	}
	if d.keys, err = fresh.write(ctx, d.dir, empty); err != nil {
		return d, err
	}
	return d, d.openStore(discardLog())
}
