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
func Check(ctx context.Context, c *config.Config, found func(keep.Damage)) (CheckResult, error) {
	k := &checker{Data: new(Data), config: c, found: found}
	check := k.checkOwn
	if c.Store == config.StoreEtcd {
		check = k.checkEtcd
	}
	err := check(ctx)
	return k.result, errors.Join(err, k.Close())
}

// checker is a Check under way.
type checker struct {
	*Data
	config *config.Config
	found  func(keep.Damage)
	result CheckResult
}

func (k *checker) damaged(what string, err error) {
	k.result.Damaged++
	k.found(keep.Damage{What: what, Err: err})
}

// checkOwn checks a folder that holds the data.
func (k *checker) checkOwn(ctx context.Context) (err error) {
	if k.dir, err = lockWhole(k.config); err != nil {
		return err
	}
	checkpoint, err := k.checkStore(ctx)
	if err != nil {
		return err
	}
	return k.checkAudit(ctx, checkpoint)
}

// checkStore returns the position up to which the store vouches for the audit log,
// nil if that is unknown.
func (k *checker) checkStore(ctx context.Context) (*audit.Checkpoint, error) {
	var err error
	if k.keys, err = openKeys(ctx, k.dir, k.config); err != nil {
		if !keysetDamaged(k.dir, err) {
			return nil, err
		}
		k.damaged("the keyset", err)
		return nil, nil
	}
	if err := k.dir.checkStore(); err != nil {
		k.damaged("the store", err)
		return nil, nil
	}
	if err := k.readStore(); err != nil {
		corrupt, ok := errors.AsType[*store.CorruptError](err)
		if !ok {
			return nil, err
		}
		k.damaged(corrupt.What, corrupt.Err)
		return nil, nil
	}
	return k.checkRecords(ctx, 0)
}

func (k *checker) checkRecords(ctx context.Context, server keep.ID) (*audit.Checkpoint, error) {
	report, err := keep.Check(ctx, k.Store, k.keys.Keys, k.shared, k.found)
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	k.result.CheckReport = report
	at, err := keep.AuditCheckpoint(ctx, k.Store, k.keys.Keys, k.shared, server)
	if err != nil {
		return nil, nil // Check has reported it
	}
	return &at, nil
}

// checkEtcd checks the data in etcd, and the audit log of the server that the folder
// belongs to, if any. Servers may be running.
func (k *checker) checkEtcd(ctx context.Context) error {
	server, err := serverOf(k.config)
	if err != nil {
		return err
	}
	reader, err := openReader(ctx, k.config)
	if err != nil {
		return err
	}
	k.Data = reader
	checkpoint, err := k.checkRecords(ctx, server)
	if err != nil || server == 0 {
		return err
	}
	return k.checkAudit(ctx, checkpoint)
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
func (k *checker) checkAudit(ctx context.Context, checkpoint *audit.Checkpoint) error {
	path := k.config.AuditLog
	if path == "-" {
		return nil
	}
	if checkpoint != nil && *checkpoint == (audit.Checkpoint{}) {
		checkpoint = nil
	}
	report, err := audit.Verify(ctx, path, checkpoint)
	k.result.Lines = report.Lines
	_, isDamage := errors.AsType[*audit.DamageError](err)
	switch {
	case err == nil:
	case isDamage, errors.Is(err, audit.ErrCheckpoint):
		k.damaged("the audit log", err)
	case errors.Is(err, fs.ErrNotExist):
		// It may have been moved away, which the next start accepts.
		if checkpoint != nil {
			k.damaged("the audit log", fmt.Errorf("%s is missing", filepath.Base(path)))
		}
	default:
		return err
	}
	return nil
}
