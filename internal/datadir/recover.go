package datadir

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Recover calls do with the Keep of a stopped server's data folder, for an operator
// who has the data and its key but has lost the tokens and passwords. do acts as
// keep.Offline, and its actions are audited. The context passed to do makes it work
// on an almost full disk. The error is ErrLocked while a server has the folder open,
// and fs.ErrNotExist if it has no data or its key file is missing.
func Recover(ctx context.Context, c *config.Config, do func(context.Context, *keep.Keep) error) error {
	d, err := unlockOffline(ctx, c)
	if err != nil {
		return err
	}
	if err := d.Open(ctx, c, discardLog()); err != nil {
		return err
	}
	return errors.Join(do(store.WithReserve(ctx, store.LastReserve), d.Keep), d.Close())
}
