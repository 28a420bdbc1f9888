package pebblestore

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// An engineThatAsks stands for the engine: as the real one, it asks the
// scheduler once to run a compaction and from then on waits to be offered it.
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
	// There is nothing to do when the first offer comes, but before the
	// scheduler has heard so there is.
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

// TestSchedulerForgetsNobody refuses a compaction for the sake of an offer
// that finds nothing to do.
func TestSchedulerForgetsNobody(t *testing.T) {
	s := newScheduler()
	e := &engineThatAsks{scheduler: s, begun: make(chan struct{})}
	s.Register(1, e)
	s.start()
	select {
	case <-e.begun:
	case <-time.After(time.Minute):
		t.Fatal("a compaction that was asked for is never run")
	}
	s.Unregister()
}
