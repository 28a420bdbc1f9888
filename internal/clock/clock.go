// Package clock tells the time that stored data goes by: the system's wall clock,
// but never earlier than the latest time that it was seen to show.
//
// A machine without a battery begins in 1970 until the network tells it the time,
// and nothing that has expired may be valid again until then. The other mistake,
// a clock that shows a time far in the future for a while, must not make
// everything expire for good. So a jump of more than a day is believed for good
// only when the clock has gone on steadily from there.
package clock

import (
	"fmt"
	"sync"
	"time"
)

const (
	// tolerance is by how much a clock may be set without being noticed, as
	// services that keep it right do all the time.
	tolerance = time.Minute
	// believed is how far the clock may be ahead of the latest time, and of the
	// time that has passed since then, to be believed at once.
	believed = 24 * time.Hour
	// settled is how long it has to go on steadily to be believed anyway.
	settled = time.Hour
)

// Clock is safe for use by several goroutines.
type Clock struct {
	wall   func() time.Time
	jumped func(by time.Duration)
	start  time.Time // for the time that has passed, which nobody sets

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

// New returns a Clock that reads wall, and calls jumped when it finds that the
// wall clock was set, or that the machine slept.
func New(wall func() time.Time, jumped func(by time.Duration)) *Clock {
	return &Clock{wall: wall, jumped: jumped, start: time.Now()}
}

// Resume tells the clock the latest time of an earlier run.
func (c *Clock) Resume(latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = reading{latest, time.Since(c.start)}
}

// Now returns the time that stored data goes by.
func (c *Clock) Now() time.Time {
	now, _ := c.read()
	return now
}

// Wall returns what the system's clock shows.
func (c *Clock) Wall() time.Time {
	_, wall := c.read()
	return wall
}

// Latest returns the time before which the clock never goes again.
func (c *Clock) Latest() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest.wall
}

// After reports whether the system's clock showed a later time when something
// was made than it does now: one of both is wrong. It is false for the zero time.
func (c *Clock) After(made time.Time) bool {
	return !made.IsZero() && made.Sub(c.Wall()) > tolerance
}

// Err returns what is wrong with the clock, nil when nothing is.
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
	// Without the monotonic reading, which does not follow when the clock is set
	// and stands still while the machine sleeps.
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
