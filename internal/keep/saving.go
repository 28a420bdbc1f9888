package keep

import (
	"context"
	"time"
)

// savePeriod is the interval at which what isn't saved with each request is saved: the
// latest time, and who read and used what last. It is the most that is lost if the
// process is killed. Servers that share a store also learn from it what the time is at
// the others, and so save more often.
const savePeriod, sharedSavePeriod = time.Minute, 15 * time.Second

func (k *Keep) saveRegularly(ctx context.Context) {
	period := savePeriod
	if k.cluster != nil {
		period = sharedSavePeriod
	}
	every(ctx, period, func() { k.save(ctx, period) })
}

// save saves the latest time if it is at least a period later than the saved one, and
// the latest reads and uses. After a failure, the next call tries again.
func (k *Keep) save(ctx context.Context, period time.Duration) {
	if err := k.saveClock(ctx, period); err != nil && ctx.Err() == nil {
		k.logger.Debug("the time can't be saved now", "error", err)
	}
	if err := k.saveActivity(ctx); err != nil && ctx.Err() == nil {
		k.logger.Debug("the last reads and uses can't be saved now", "error", err)
	}
}
