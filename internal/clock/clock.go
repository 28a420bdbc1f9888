// Package clock provides the time for expiration: the system's wall clock, but
// never earlier than the latest time that it has shown.
//
// A machine without a clock battery starts in 1970 until it gets the time from the
// network, and expired data must not become valid again until then. Conversely, a
// clock that temporarily shows a time far in the future must not make everything
// expire for good. So a jump of more than a day becomes permanent only if the clock
// then runs steadily from there.
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
	jump   time.Duration
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
}

// Now returns the time for expiration.
func (c *Clock) Now() time.Time {
	now, _ := c.read()
	return now
}

// Wall returns the system clock's time.
func (c *Clock) Wall() time.Time {
	_, wall := c.read()
	return wall
}

// Latest returns the latest time so far; Now never returns an earlier one.
func (c *Clock) Latest() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest.wall
}

// After reports whether something was created later than the system clock's time,
// which means that one of the two is wrong. It is false for the zero time.
func (c *Clock) After(made time.Time) bool {
	return !made.IsZero() && made.Sub(c.Wall()) > tolerance
}

// Err returns an error if the system clock is wrong.
func (c *Clock) Err() error {
	now, wall := c.read()
	if behind := now.Sub(wall); behind > tolerance {
		return fmt.Errorf("the system's clock is %s behind the latest time it has shown, which counts until it gets there", behind.Round(time.Second))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jump != 0 && c.last.passed-c.steady.passed < settled {
		return fmt.Errorf("the system's clock jumped by %s", c.jump.Round(time.Second))
	}
	return nil
}

func (c *Clock) read() (now, wall time.Time) {
	// Without the monotonic reading, which ignores changes of the clock and stops
	// while the machine sleeps.
	wall = c.wall().Round(0)
	jump, latest := c.note(reading{wall, time.Since(c.start)})
	if jump != 0 && c.jumped != nil {
		c.jumped(jump)
	}
	if wall.Before(latest) {
		return latest, wall
	}
	return wall, wall
}

// note takes a reading, and returns by how much the clock has jumped and the
// latest time that is believed.
func (c *Clock) note(r reading) (jump time.Duration, latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.wall.IsZero() {
		c.steady = r
	} else if by := r.ahead(c.last); by.Abs() > tolerance {
		jump, c.jump, c.steady = by, by, r
	}
	c.last = r
	if r.wall.After(c.latest.wall) &&
		(c.latest.wall.IsZero() || r.ahead(c.latest) <= believed || r.passed-c.steady.passed >= settled) {
		c.latest = r
	}
	return jump, c.latest.wall
}

// ahead returns by how much more the wall clock has gone on since s than time
// has passed.
func (r reading) ahead(s reading) time.Duration { return r.wall.Sub(s.wall) - (r.passed - s.passed) }
