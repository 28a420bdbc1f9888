package datadir

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Recover calls do with what is kept in a data folder that no server has open,
// for somebody who has the data and its key and has lost the tokens and
// passwords: do acts as keep.Offline, and what it does is audited. With the
// context that do gets, it works on a disk that is almost full. The error is
// ErrLocked while a server has the folder open, and fs.ErrNotExist when there is
// no data in it or its key file is not at hand.
func Recover(ctx context.Context, c *config.Config, do func(context.Context, *keep.Keep) error) error {
	d, err := unlockOffline(ctx, c)
	if err != nil {
		return err
	}
	if err := d.Open(ctx, c, discardLog()); err != nil {
		return err
	}
	return errors.Join(do(store.WithReserve(ctx), d.Keep), d.Close())
}
