package pebblestore

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// deferredRemovals postpones removing tables while a failed generation of the
// engine, which doesn't know about the removal, still serves reads.
type deferredRemovals struct {
	mu      sync.Mutex
	holders int
	waiting []string
}

func (s *deferredRemovals) remove(fs vfs.FS, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders > 0 {
		s.waiting = append(s.waiting, name)
		return nil
	}
	return fs.Remove(name)
}

func (s *deferredRemovals) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holders++
}

// release ends a hold and removes the postponed tables.
func (s *deferredRemovals) release(fs vfs.FS) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders--; s.holders > 0 {
		return
	}
	for _, name := range s.waiting {
		// The next start removes any that remain.
		_ = fs.Remove(name)
	}
	s.waiting = nil
}
