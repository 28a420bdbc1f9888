package pebblestore

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// An engineThatAsks mimics the engine: it asks the scheduler once to run a
// compaction, and then waits for an offer.
type engineThatAsks struct {
	scheduler *scheduler
	begun     chan struct{} // closed when the compaction runs

	mu      sync.Mutex
	waiting bool
	offers  int
}

func (e *engineThatAsks) GetAllowedWithoutPermission() int { return 1 }

func (e *engineThatAsks) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.offers++; e.offers > 1 {
		return e.waiting, pebble.WaitingCompaction{}
	}
	// At the first offer there is nothing to do, but a compaction comes up
	// before the scheduler learns that.
	if ok, _ := e.scheduler.TrySchedule(); ok {
		close(e.begun)
	} else {
		e.waiting = true
	}
	return false, pebble.WaitingCompaction{}
}

func (e *engineThatAsks) Schedule(pebble.CompactionGrantHandle) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting {
		e.waiting = false
		close(e.begun)
	}
	return true
}

// TestSchedulerForgetsNobody refuses a compaction because of an offer that
// then finds nothing to do.
func TestSchedulerForgetsNobody(t *testing.T) {
	s := newScheduler()
	e := &engineThatAsks{scheduler: s, begun: make(chan struct{})}
	s.Register(1, e)
	s.start()
	select {
	case <-e.begun:
	case <-time.After(time.Minute):
		t.Fatal("a requested compaction never ran")
	}
	s.Unregister()
}
