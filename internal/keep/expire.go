package keep

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

const (
	sweepInterval = 10 * time.Minute
	// expireBatch is the number of sessions and login tokens for one transaction.
	expireBatch = 256
)

// sweepExpired periodically counts the valid login tokens and, on the server that
// leads, removes sessions and login tokens that can't be used any more.
func (k *Keep) sweepExpired(ctx context.Context) {
	every(ctx, sweepInterval, func() {
		if err := k.removeExpired(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("expired sessions could not be removed, will retry", "error", err)
		}
	})
}

func (k *Keep) removeExpired(ctx context.Context) error {
	var expired *directory.Expired
	var valid map[ID]int
	err := k.readUnaudited(ctx, func(v *view) (err error) {
		expired, valid, err = v.dir.Expired()
		return err
	})
	// What can't be counted is forgotten: numbers that only grew would refuse every login in
	// the end.
	k.logins.replace(valid)
	if err != nil {
		return err
	}
	return k.removeAll(ctx, expired, expireBatch)
}

// removeAll removes what has expired, up to batch entries in one transaction. If that fails,
// it removes them one by one, so that an entry that can't be removed doesn't keep the others.
// It returns the first error.
func (k *Keep) removeAll(ctx context.Context, expired *directory.Expired, batch int) (failed error) {
	for k.leads() && !expired.Empty() {
		some := expired.Take(batch)
		err := k.updateUnaudited(removing(ctx), func(t *tx) error { return t.dir.RemoveExpired(some) })
		switch {
		case ctx.Err() != nil || errors.Is(err, store.ErrUnavailable):
			return err
		case err != nil && batch > 1:
			err = k.removeAll(ctx, some, 1)
		}
		failed = cmp.Or(failed, err)
	}
	return failed
}
