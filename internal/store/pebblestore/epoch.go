package pebblestore

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// An epoch is one durable state of the store, which Views read. The store
// publishes a new one after each commit group; the one before lives on until
// its last View has ended.
type epoch struct {
	snap *pebble.Snapshot
	gen  *generation
	live *liveEpochs
	revs *revisions

	// refs counts the Views, plus one while the epoch is the published one.
	refs atomic.Int64
}

// newEpoch takes the engine's current state, which must be durable.
func newEpoch(gen *generation, live *liveEpochs, revs *revisions) *epoch {
	e := &epoch{snap: gen.db.NewSnapshot(), gen: gen, live: live, revs: revs}
	e.refs.Store(1)
	gen.acquire()
	live.add(revs.all)
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

// release gives back a reference. The last one to go closes the snapshot,
// which takes the engine's lock and so is not left to a reader.
func (e *epoch) release() {
	if e.refs.Add(-1) == 0 {
		go e.close()
	}
}

// retire gives back the reference of being published.
func (e *epoch) retire() {
	if e.refs.Add(-1) == 0 {
		e.close()
	}
}

func (e *epoch) close() {
	_ = e.snap.Close() // has no way to fail
	e.live.remove(e.revs.all)
	e.gen.release()
}

// liveEpochs are the revisions of the epochs that have not ended.
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

// before reports whether an epoch older than rev is alive.
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
