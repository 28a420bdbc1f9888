package datadir

import (
	"context"
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Accept makes a stopped server's data folder trust its records as they are, even
// if the sums say that some are missing or were replaced. This is audited. The
// errors are those of Recover.
func Accept(ctx context.Context, c *config.Config) error {
	d, err := unlockOffline(ctx, c)
	if err != nil {
		return err
	}
	if err := d.accept(ctx, c); err != nil {
		return errors.Join(err, d.Close())
	}
	// This moves the audit record to the log.
	if err := d.Open(ctx, c, discardLog()); err != nil {
		return fmt.Errorf("the records were accepted, but the data can't be opened: %w", err)
	}
	return d.Close()
}

func (d *Data) accept(ctx context.Context, c *config.Config) error {
	open := func() error { return d.openStore(discardLog()) }
	if c.Store == config.StoreEtcd {
		open = func() error { return d.openServer(ctx, c, discardLog()) }
	}
	if err := open(); err != nil {
		return err
	}
	err := keep.Accept(store.WithReserve(ctx, store.LastReserve), d.Store, d.keys.Keys, d.shared, d.dir.server)
	return errors.Join(err, d.closeStore())
}
