package keep

import (
	"context"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

const sweepInterval = 10 * time.Minute

// sweepExpired periodically removes expired sessions and login tokens.
func (k *Keep) sweepExpired(ctx context.Context) {
	every(ctx, sweepInterval, func() {
		defer k.children.reset()
		if !k.leads() {
			return
		}
		if err := k.removeExpired(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("expired sessions could not be removed, will retry", "error", err)
		}
	})
}

// removeExpired removes expired sessions and login tokens.
func (k *Keep) removeExpired(ctx context.Context) error {
	var expired *directory.Expired
	err := k.readUnaudited(ctx, func(v *view) (err error) {
		expired, err = v.dir.Expired()
		return err
	})
	if err != nil || expired.Empty() {
		return err
	}
	return k.updateUnaudited(store.WithReserve(ctx), func(t *tx) error { return t.dir.RemoveExpired(expired) })
}
