package pebblestore

import (
	"fmt"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store/group"
)

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// failed signals that a generation's disk has failed.
func (s *Store) failed() {
	select {
	case s.engineFailed <- struct{}{}:
	default:
	}
}

// recoverEngine replaces the current generation when its disk has failed.
func (s *Store) recoverEngine() {
	for {
		select {
		case <-s.engineFailed:
		case <-s.stopping:
			return
		}
		if s.gen.Load().disk.failure() == nil {
			continue // a generation that never took over
		}
		if !s.replace() {
			return
		}
	}
}

// replace opens new generations until one takes over. It returns false only if
// the store is closed.
func (s *Store) replace() bool {
	old := s.gen.Load()
	old.disk.drain()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		select {
		case <-time.After(pause):
		case <-s.stopping:
			return false
		}
		next, err := s.reopen()
		if err != nil {
			s.log.Warn("store: still refusing changes", "error", err)
			continue
		}
		took := s.committer.between(func() {
			s.gen.Store(next)
			// Changes reported as failed may have become visible.
			s.committer.revs = s.committer.revs.Next(&group.EveryTable)
			s.publish(next, s.committer.revs)
		})
		if !took {
			next.release()
			return false
		}
		old.release()
		s.counters.recoveries.Add(1)
		s.log.Info("store: the disk works again, accepting changes")
		return true
	}
}

func (s *Store) reopen() (*generation, error) {
	// A folder that replaced ours is not locked, and has other data.
	if err := s.folder.check(); err != nil {
		return nil, fmt.Errorf("%w: restart the server to open what is there now", err)
	}
	if err := s.spaceToOpen(); err != nil {
		return nil, err
	}
	return s.openGeneration(false)
}
