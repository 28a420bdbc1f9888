package clock

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// machine is a computer whose wall clock can be set, and which can sleep. Its
// time goes on as that of the test's bubble.
type machine struct {
	set   time.Duration // by which its wall clock is ahead
	jumps []time.Duration
}

func (m *machine) start(latest time.Time) *Clock {
	c := New(func() time.Time { return time.Now().Add(m.set) }, func(by time.Duration) { m.jumps = append(m.jumps, by) })
	if !latest.IsZero() {
		c.Resume(latest)
	}
	return c
}

func TestClock(t *testing.T) {
	const day = 24 * time.Hour
	at := func(t *testing.T, c *Clock, step string, want time.Time) {
		t.Helper()
		if got := c.Now(); !got.Equal(want) || got != got.Round(0) {
			t.Errorf("%s: it is %v, want %v", step, got, want)
		}
	}
	run := func(name string, fn func(t *testing.T, m *machine)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { fn(t, new(machine)) }) })
	}
	run("steady", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		for range 100 {
			time.Sleep(7 * time.Hour)
			at(t, c, "later", time.Now())
		}
		if len(m.jumps) > 0 || c.Err() != nil {
			t.Errorf("jumps %v, %v", m.jumps, c.Err())
		}
	})
	run("the machine sleeps", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		at(t, c, "before", time.Now())
		m.set += 8 * time.Hour // no time passes for processes
		at(t, c, "after", time.Now().Add(m.set))
		if c.Err() == nil || len(m.jumps) != 1 {
			t.Errorf("jumps %v, %v", m.jumps, c.Err())
		}
		time.Sleep(2 * time.Hour)
		if err := c.Err(); err != nil {
			t.Errorf("two hours after: %v", err)
		}
	})
	run("set back", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		time.Sleep(time.Hour)
		latest := time.Now()
		at(t, c, "before", latest)
		m.set = -3 * time.Hour
		at(t, c, "after", latest)
		time.Sleep(time.Hour)
		at(t, c, "an hour later", latest)
		if c.Err() == nil || len(m.jumps) != 1 {
			t.Errorf("jumps %v, %v", m.jumps, c.Err())
		}
		time.Sleep(2*time.Hour + time.Second)
		at(t, c, "caught up", latest.Add(time.Second))
		if err := c.Err(); err != nil {
			t.Errorf("caught up: %v", err)
		}
	})
	run("corrected all the time", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		for range 50 {
			at(t, c, "before", time.Now().Add(m.set))
			time.Sleep(time.Minute)
			m.set -= time.Second
		}
		if len(m.jumps) > 0 || c.Err() != nil {
			t.Errorf("jumps %v, %v", m.jumps, c.Err())
		}
	})
	run("starts in 1970", func(t *testing.T, m *machine) {
		latest := time.Now()
		m.set = time.Unix(0, 0).Sub(latest)
		c := m.start(latest)
		at(t, c, "at the start", latest)
		time.Sleep(time.Hour)
		at(t, c, "later", latest)
		m.set = 0 // the network tells the time
		at(t, c, "right", time.Now())
	})
	run("was off for a year", func(t *testing.T, m *machine) {
		c := m.start(time.Now().Add(-365 * day))
		at(t, c, "at the start", time.Now())
		if c.Latest().After(time.Now().Add(-364 * day)) {
			t.Errorf("believed at once: %v", c.Latest())
		}
		time.Sleep(settled)
		at(t, c, "an hour later", time.Now())
		if !c.Latest().Equal(time.Now()) {
			t.Errorf("not believed after an hour: %v", c.Latest())
		}
	})
	run("a wrong future of some hours", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		at(t, c, "before", time.Now())
		m.set = 2 * time.Hour
		seen := time.Now().Add(2 * time.Hour)
		at(t, c, "in the future", seen)
		made := c.Wall()
		m.set = 0
		at(t, c, "back", seen)
		if !c.After(made) || c.After(c.Wall()) {
			t.Error("After doesn't distinguish a future time from now")
		}
	})
	run("a wrong future of years", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		at(t, c, "before", time.Now())
		m.set = 10 * 365 * day
		at(t, c, "in the future", time.Now().Add(m.set))
		time.Sleep(settled - time.Second)
		at(t, c, "for less than an hour", time.Now().Add(m.set))
		m.set = 0
		at(t, c, "back", time.Now())
	})
}

func TestOtherServers(t *testing.T) {
	run := func(name string, fn func(t *testing.T, m *machine)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { fn(t, new(machine)) }) })
	}
	skew := func(t *testing.T, c *Clock, want time.Duration) {
		t.Helper()
		if got, known := c.Skew(); !known || got != want {
			t.Errorf("ahead by %v, known: %t; want %v", got, known, want)
		}
	}
	run("behind the others", func(t *testing.T, m *machine) {
		m.set = -10 * time.Minute
		c := m.start(time.Time{})
		c.Observe(time.Now())
		time.Sleep(time.Minute)
		if got := c.Now(); !got.Equal(time.Now()) {
			t.Errorf("it is %v, want %v", got, time.Now())
		}
		skew(t, c, -10*time.Minute)
		if c.Err() == nil || c.AheadErr() != nil {
			t.Errorf("%v; %v", c.Err(), c.AheadErr())
		}
		c.Observe(time.Now().Add(-time.Hour)) // by one that is even further behind
		if got := c.Now(); !got.Equal(time.Now()) {
			t.Errorf("time went back to %v", got)
		}
	})
	run("ahead of the others", func(t *testing.T, m *machine) {
		m.set = 10 * time.Minute
		c := m.start(time.Time{})
		if _, known := c.Skew(); known || c.AheadErr() != nil {
			t.Error("a skew is known without other servers")
		}
		c.Observe(time.Now())
		time.Sleep(time.Minute)
		skew(t, c, 10*time.Minute)
		if c.AheadErr() == nil || c.Err() == nil {
			t.Errorf("%v; %v", c.Err(), c.AheadErr())
		}
		time.Sleep(recent)
		if _, known := c.Skew(); known || c.AheadErr() != nil {
			t.Error("the time of a server that has gone still counts")
		}
	})
	run("ahead of the others for a while", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		c.Observe(time.Now())
		m.set = time.Hour
		if got := c.Now(); !got.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("it is %v, want that of the system's clock", got)
		}
		if got := c.Shared(); !got.Equal(time.Now()) {
			t.Errorf("for changes it is %v, want %v", got, time.Now())
		}
		time.Sleep(time.Minute)
		m.set = 0
		for name, got := range map[string]time.Time{"it": c.Now(), "for changes it": c.Shared(), "the latest time": c.Latest()} {
			if got.After(time.Now()) {
				t.Errorf("%s is %v after the clock was corrected, want %v", name, got, time.Now())
			}
		}
	})
	for _, heard := range []bool{true, false} {
		run(fmt.Sprintf("ahead while the others are silent, corrected when they are heard: %t", heard), func(t *testing.T, m *machine) {
			c := m.start(time.Now().Add(-time.Minute))
			for range 2 { // at the start, and later
				m.set = time.Hour
				if got := c.Now(); !got.Equal(time.Now().Add(time.Hour)) {
					t.Errorf("it is %v, want that of the system's clock", got)
				}
				if heard {
					c.Observe(time.Now())
					if c.AheadErr() == nil {
						t.Error("the clock is right")
					}
					c.Now()
				}
				time.Sleep(time.Minute)
				m.set = 0
				c.Observe(time.Now())
				for name, got := range map[string]time.Time{"it": c.Now(), "for changes it": c.Shared(), "the latest time": c.Latest()} {
					if !got.Equal(time.Now()) {
						t.Errorf("%s is %v after the clock was corrected, want %v", name, got, time.Now())
					}
				}
				time.Sleep(2 * recent)
			}
		})
	}
	run("a latest time that is stored counts", func(t *testing.T, m *machine) {
		latest := time.Now().Add(time.Hour)
		c := m.start(latest)
		c.Observe(time.Now())
		if got := c.Now(); !got.Equal(latest) {
			t.Errorf("it is %v, want %v", got, latest)
		}
	})
	run("one of the others is behind", func(t *testing.T, m *machine) {
		c := m.start(time.Time{})
		c.Observe(time.Now())
		c.Observe(time.Now().Add(-time.Hour))
		skew(t, c, 0)
		if err := c.AheadErr(); err != nil {
			t.Error(err)
		}
	})
	run("almost the same time", func(t *testing.T, m *machine) {
		m.set = tolerance
		c := m.start(time.Time{})
		c.Observe(time.Now())
		if err := errors.Join(c.AheadErr(), c.Err()); err != nil {
			t.Error(err)
		}
	})
}
