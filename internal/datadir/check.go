package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// CheckResult counts the data that Check read.
type CheckResult struct {
	keep.CheckReport
	Lines uint64 // of the audit log
}

// Check reads everything in a stopped server's data folder, and calls found with
// all damage. It changes no data. It returns an error if it couldn't check: a
// server is running, there is no data, or the key is wrong.
func Check(ctx context.Context, c *config.Config, found func(keep.Damage)) (done CheckResult, err error) {
	tell := func(what string, err error) {
		done.Damaged++
		found(keep.Damage{What: what, Err: err})
	}
	d := new(Data)
	defer func() { err = errors.Join(err, d.Close()) }()
	if c.Store == config.StoreEtcd {
		return done, d.checkEtcd(ctx, c, &done, tell, found)
	}
	if d.dir, err = lockWhole(c); err != nil {
		return done, err
	}
	checkpoint, err := d.checkStoreRecords(ctx, c, &done, tell, found)
	if err != nil {
		return done, err
	}
	return done, checkAudit(ctx, c, &done, checkpoint, tell)
}

// checkStoreRecords returns the position up to which the store vouches for the
// audit log, nil if that is unknown.
func (d *Data) checkStoreRecords(ctx context.Context, c *config.Config, done *CheckResult, tell func(string, error), found func(keep.Damage)) (*audit.Checkpoint, error) {
	var err error
	if d.keys, err = openKeys(ctx, d.dir, c); err != nil {
		if !keysetDamaged(d.dir, err) {
			return nil, err
		}
		tell("the keyset", err)
		return nil, nil
	}
	if err := d.dir.checkStore(); err != nil {
		tell("the store", err)
		return nil, nil
	}
	if err := d.readStore(); err != nil {
		var corrupt *store.CorruptError
		if !errors.As(err, &corrupt) {
			return nil, err
		}
		tell(corrupt.What, corrupt.Err)
		return nil, nil
	}
	return d.checkRecords(ctx, 0, done, found)
}

func (d *Data) checkRecords(ctx context.Context, server keep.ID, done *CheckResult, found func(keep.Damage)) (*audit.Checkpoint, error) {
	report, err := keep.Check(ctx, d.Store, d.keys.Keys, d.shared, found)
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	done.CheckReport = report
	at, err := keep.AuditCheckpoint(ctx, d.Store, d.keys.Keys, d.shared, server)
	if err != nil {
		return nil, nil // Check has reported it
	}
	return &at, nil
}

// checkEtcd checks the data in etcd, and the audit log of the server that the folder
// belongs to, if any. Servers may be running.
func (d *Data) checkEtcd(ctx context.Context, c *config.Config, done *CheckResult, tell func(string, error), found func(keep.Damage)) error {
	server, err := serverOf(c)
	if err != nil {
		return err
	}
	reader, err := openReader(ctx, c)
	if err != nil {
		return err
	}
	*d = *reader
	checkpoint, err := d.checkRecords(ctx, server, done, found)
	if err != nil || server == 0 {
		return err
	}
	return checkAudit(ctx, c, done, checkpoint, tell)
}

// keysetDamaged reports whether the keyset is damaged or lost, rather than the key
// wrong or unavailable.
func keysetDamaged(dir *dataDir, err error) bool {
	if _, serr := os.Stat(dir.file(keysetName)); errors.Is(serr, fs.ErrNotExist) {
		return true
	}
	return errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrWrongKey)
}

// checkAudit verifies the audit log, including the checkpoint in the store.
func checkAudit(ctx context.Context, c *config.Config, done *CheckResult, checkpoint *audit.Checkpoint, tell func(string, error)) error {
	if c.AuditLog == "-" {
		return nil
	}
	if checkpoint != nil && *checkpoint == (audit.Checkpoint{}) {
		checkpoint = nil
	}
	report, err := audit.Verify(ctx, c.AuditLog, checkpoint)
	done.Lines = report.Lines
	var damage *audit.DamageError
	switch {
	case err == nil:
	case errors.As(err, &damage), errors.Is(err, audit.ErrCheckpoint):
		tell("the audit log", err)
	case errors.Is(err, fs.ErrNotExist):
		// It may have been moved away, which the next start accepts.
		if checkpoint != nil {
			tell("the audit log", fmt.Errorf("%s is missing", filepath.Base(c.AuditLog)))
		}
	default:
		return err
	}
	return nil
}
