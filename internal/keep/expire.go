package keep

import (
	"context"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/directory"
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
	for k.leads() && !expired.Empty() {
		some := expired.Take(expireBatch)
		if err := k.updateUnaudited(removing(ctx), func(t *tx) error { return t.dir.RemoveExpired(some) }); err != nil {
			return err
		}
	}
	return nil
}
