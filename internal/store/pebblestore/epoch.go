package pebblestore

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
)

// An epoch is one durable state of the store, for Views to read. The store
// publishes a new one after each commit group; an old one remains until its
// last View ends.
type epoch struct {
	snap *pebble.Snapshot
	gen  *generation
	live *liveEpochs
	revs *group.Revisions

	// refs counts the Views, plus one while the epoch is published.
	refs atomic.Int64
}

// newEpoch takes a snapshot of the engine's current state, which must be
// durable.
func newEpoch(gen *generation, live *liveEpochs, revs *group.Revisions) *epoch {
	e := &epoch{snap: gen.db.NewSnapshot(), gen: gen, live: live, revs: revs}
	e.refs.Store(1)
	gen.acquire()
	live.add(revs.Of())
	return e
}

// acquire takes a reference, unless the epoch has ended.
func (e *epoch) acquire() bool {
	for {
		n := e.refs.Load()
		if n == 0 {
			return false
		}
		if e.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release drops a reference. The last one closes the snapshot, on another
// goroutine because closing takes the engine's lock.
func (e *epoch) release() {
	if e.refs.Add(-1) == 0 {
		go e.close()
	}
}

// retire drops the reference held while the epoch is published.
func (e *epoch) retire() {
	if e.refs.Add(-1) == 0 {
		e.close()
	}
}

func (e *epoch) close() {
	_ = e.snap.Close() // never fails
	e.live.remove(e.revs.Of())
	e.gen.release()
}

// liveEpochs are the revisions of the epochs still in use.
type liveEpochs struct {
	mu   sync.Mutex
	revs map[uint64]struct{}
}

func (l *liveEpochs) add(rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revs[rev] = struct{}{}
}

func (l *liveEpochs) remove(rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.revs, rev)
}

// before reports whether an epoch older than rev is still in use.
func (l *liveEpochs) before(rev uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.revs {
		if r < rev {
			return true
		}
	}
	return false
}
