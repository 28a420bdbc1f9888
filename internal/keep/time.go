package keep

import (
	"context"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// clockRecord is the latest time that the store has seen.
type clockRecord struct {
	Latest time.Time `json:"latest"`
}

// resumeClock sets the clock's latest time to that of the last run.
func (k *Keep) resumeClock(ctx context.Context) error {
	return k.readUnaudited(ctx, func(v *view) error {
		r, err := record.Load[clockRecord](v.Reader, record.Key(record.TableClock))
		if err == nil && r != nil {
			k.clock.Resume(r.Latest)
			k.clockSaved = r.Latest
		}
		return err
	})
}

// saveClock saves the latest time if it is at least a period later than the one that
// this server saved last.
func (k *Keep) saveClock(ctx context.Context, period time.Duration) error {
	k.clock.Now()
	latest := k.clock.Latest()
	if latest.Sub(k.clockSaved) < period {
		return nil
	}
	err := k.updateUnaudited(ctx, func(t *tx) error {
		now := clockRecord{latest}
		stored, err := record.Load[clockRecord](t.Reader, record.Key(record.TableClock))
		if err != nil {
			return err
		}
		if stored != nil && stored.Latest.After(latest) {
			now = *stored
		}
		return t.w.PutJSON(record.Key(record.TableClock), now)
	})
	if err == nil {
		k.clockSaved = latest
	}
	return err
}

// Now returns the time for expiration.
func (k *Keep) Now() time.Time { return k.now() }

// ClockErr returns an error if the system clock is wrong.
func (k *Keep) ClockErr() error { return k.clock.Err() }

// ClockSkew returns by how much the system clock is ahead of the clocks of the other
// servers that share the store. known is false if none of them has made a change
// lately.
func (k *Keep) ClockSkew() (ahead time.Duration, known bool) { return k.clock.Skew() }

// sleep waits, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// every calls do after each period until ctx ends.
func every(ctx context.Context, period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}
