package pebblestore

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// A scheduler lets the engine compact freely, but only once it is open:
// pebble.Open waits for each compaction that has begun, which can take many
// seconds.
type scheduler struct {
	mu      sync.Mutex
	idle    sync.Cond // signaled when granting ends
	db      pebble.DBForCompaction
	allowed bool // compactions may run
	running int

	// granting is set while a goroutine offers the engine to run waiting
	// compactions; again means that it should offer once more. The offer
	// itself counts as a running compaction.
	granting, again bool
}

var _ pebble.CompactionScheduler = (*scheduler)(nil)

func newScheduler() *scheduler {
	s := &scheduler{}
	s.idle.L = &s.mu
	return s
}

// start allows compactions.
func (s *scheduler) start() {
	s.mu.Lock()
	s.allowed = true
	s.mu.Unlock()
	s.grant()
}

// Register implements pebble.CompactionScheduler.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db = db
}

// Unregister implements pebble.CompactionScheduler.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = false
	for s.granting {
		s.idle.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room() {
		// The offer that took the slot may have found nothing just before the
		// engine asked, and the engine doesn't ask twice.
		s.again = true
		return false, nil
	}
	s.running++
	return true, grantHandle{s}
}

// room reports whether another compaction may run.
func (s *scheduler) room() bool {
	return s.allowed && s.running < s.db.GetAllowedWithoutPermission()
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler.
func (s *scheduler) UpdateGetAllowedWithoutPermission() { s.grant() }

// grant offers the engine to run compactions that were refused earlier. It is
// called with the engine's locks held, so it uses another goroutine.
func (s *scheduler) grant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.granting {
		s.again = true
		return
	}
	if s.room() {
		s.granting = true
		go s.grantWaiting()
	}
}

func (s *scheduler) grantWaiting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.idle.Broadcast()
	for {
		s.again = false
		for s.room() {
			// Lock order: the engine's locks come before s.mu.
			s.running++
			s.mu.Unlock()
			waiting, _ := s.db.GetWaitingCompaction()
			taken := waiting && s.db.Schedule(grantHandle{s})
			s.mu.Lock()
			if !taken {
				s.running--
				break
			}
		}
		if !s.again {
			s.granting = false
			return
		}
	}
}

// grantHandle is the permission to run one compaction.
type grantHandle struct{ s *scheduler }

func (h grantHandle) Started()                                          {}
func (h grantHandle) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (h grantHandle) CumulativeStats(pebble.CompactionGrantHandleStats) {}

func (h grantHandle) Done() {
	h.s.mu.Lock()
	h.s.running--
	h.s.mu.Unlock()
	h.s.grant()
}
