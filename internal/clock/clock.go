// Package clock provides the time for expiration: the system's wall clock, but
// never earlier than the latest time that it has shown.
//
// A machine without a clock battery starts in 1970 until it gets the time from the
// network, and expired data must not become valid again until then. Conversely, a
// clock that temporarily shows a time far in the future must not make everything
// expire for good. So a jump of more than a day becomes permanent only if the clock
// then runs steadily from there.
//
// Servers that share a store see the time of each other's changes. The clock that is
// furthest ahead counts for all, so that what has expired on one server has expired
// on every other. That is why a server whose clock is far ahead of all others must not make
// changes, and forgets that time once the clock is right again.
package clock

import (
	"fmt"
	"sync"
	"time"
)

const (
	// tolerance is the largest adjustment that doesn't count as a jump: time
	// services make small ones all the time.
	tolerance = time.Minute
	// believed is the largest jump ahead that is believed at once.
	believed = 24 * time.Hour
	// settled is how long the clock must run steadily after a larger jump.
	settled = time.Hour
	// recent is how long the time of another server's change says something about
	// this server's clock.
	recent = 5 * time.Minute
)

// Clock is safe for concurrent use.
type Clock struct {
	wall   func() time.Time
	jumped func(by time.Duration)
	start  time.Time // with a monotonic reading, for elapsed time

	mu     sync.Mutex
	last   reading
	steady reading // since when the wall clock has not jumped
	latest reading // the latest time that is believed
	agreed reading // the part of it that counts even if this clock turns out to be wrong
	jump   time.Duration
	others reading       // the time of other servers' changes that is furthest ahead
	heard  time.Duration // when the last one came, as in reading.passed
}

// reading is what the wall clock showed after some time.
type reading struct {
	wall   time.Time
	passed time.Duration
}

// New returns a Clock that reads wall. It calls jumped if the wall clock was set or
// the machine slept.
func New(wall func() time.Time, jumped func(by time.Duration)) *Clock {
	return &Clock{wall: wall, jumped: jumped, start: time.Now()}
}

// Resume sets the latest time of an earlier run.
func (c *Clock) Resume(latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = reading{latest, time.Since(c.start)}
	c.agreed = c.latest
}

// Observe takes the time of a change that another server has just made. From now
// on, Now returns no earlier time.
func (c *Clock) Observe(made time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := reading{made.Round(0), time.Since(c.start)}
	if c.others.wall.IsZero() || r.ahead(c.others) > 0 {
		c.others = r
	}
	c.heard = r.passed
}

// Skew returns by how much the system's clock is ahead of the other servers', or
// behind if it is negative. known is false if none of them has made a change lately.
func (c *Clock) Skew() (ahead time.Duration, known bool) {
	now := reading{c.wall().Round(0), time.Since(c.start)}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew(now)
}

// skew is Skew at a reading. It must be called with mu locked.
func (c *Clock) skew(r reading) (ahead time.Duration, known bool) {
	if c.others.wall.IsZero() || r.passed-c.heard > recent {
		return 0, false
	}
	return r.ahead(c.others), true
}

// AheadErr returns an error if the system's clock is too far ahead of the other
// servers' for this one to make changes.
func (c *Clock) AheadErr() error {
	if ahead, known := c.Skew(); known && ahead > tolerance {
		return fmt.Errorf("the system's clock is %s ahead of the other servers'", ahead.Round(time.Second))
	}
	return nil
}

// Shared returns the time for a change that other servers will Observe: Now, or their
// time if the system's clock is too far ahead of it.
func (c *Clock) Shared() time.Time {
	now, _, own := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := reading{own, time.Since(c.start)}
	if ahead, known := c.skew(r); known && ahead > tolerance {
		return own.Add(-ahead)
	}
	return now
}

// Now returns the time for expiration.
func (c *Clock) Now() time.Time {
	now, _, _ := c.read()
	return now
}

// Wall returns the system clock's time, or the other servers' if that is later.
func (c *Clock) Wall() time.Time {
	_, wall, _ := c.read()
	return wall
}

// Latest returns the latest time so far; Now never returns an earlier one.
func (c *Clock) Latest() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest.wall
}

// After reports whether something was created later than Wall's time, which means
// that one of the two is wrong. It is false for the zero time.
func (c *Clock) After(made time.Time) bool {
	return !made.IsZero() && made.Sub(c.Wall()) > tolerance
}

// Err returns an error if the system clock is wrong.
func (c *Clock) Err() error {
	now, _, own := c.read()
	if behind := now.Sub(own); behind > tolerance {
		return fmt.Errorf("the system's clock is %s behind the latest time that it or another server has shown, which counts until it gets there", behind.Round(time.Second))
	}
	if err := c.AheadErr(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jump != 0 && c.last.passed-c.steady.passed < settled {
		return fmt.Errorf("the system's clock jumped by %s", c.jump.Round(time.Second))
	}
	return nil
}

// read returns the time that counts, Wall's time and the system clock's.
func (c *Clock) read() (now, wall, own time.Time) {
	// Without the monotonic reading, which ignores changes of the clock and stops
	// while the machine sleeps.
	own = c.wall().Round(0)
	jump, latest, others := c.note(reading{own, time.Since(c.start)})
	if jump != 0 && c.jumped != nil {
		c.jumped(jump)
	}
	wall = later(own, others)
	return later(wall, latest), wall, own
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// note takes a reading, and returns by how much the clock has jumped, the latest time
// that is believed, and the time of the other servers.
func (c *Clock) note(r reading) (jump time.Duration, latest, others time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.wall.IsZero() {
		c.steady = r
	} else if by := r.ahead(c.last); by.Abs() > tolerance {
		jump, c.jump, c.steady = by, by, r
	}
	c.last = r
	if ahead, known := c.skew(reading{c.latest.wall, r.passed}); known && ahead > tolerance {
		c.latest = c.agreed // the others were not heard when this clock was ahead
	}
	ahead, known := c.skew(r)
	if (!known || ahead <= tolerance) && r.wall.After(c.latest.wall) &&
		(c.latest.wall.IsZero() || r.ahead(c.latest) <= believed || r.passed-c.steady.passed >= settled) {
		c.latest = r
	}
	if known {
		c.agreed = c.latest
	}
	if !c.others.wall.IsZero() {
		others = c.others.wall.Add(r.passed - c.others.passed) // time passes there as it does here
	}
	return jump, c.latest.wall, others
}

// ahead returns by how much more the wall clock has gone on since s than time
// has passed.
func (r reading) ahead(s reading) time.Duration { return r.wall.Sub(s.wall) - (r.passed - s.passed) }
