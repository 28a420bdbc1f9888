package pebblestore

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A request is one call of Update.
type request struct {
	ctx   context.Context
	fn    func(store.Tx) error
	state atomic.Int32
	done  chan struct{} // receives a value when the request is answered

	ran bool // fn was called

	// The outcome. The caller reads it after done.
	err      error
	panicked any  // what fn panicked with
	exited   bool // fn ended its goroutine
}

const (
	queued int32 = iota
	taken        // the committer runs it or has run it
	gone         // its caller has left
)

// Update implements store.Store. fn runs on one of the store's goroutines
// while other changes wait, so it should be quick, and must not call Update.
// If fn panics or ends its goroutine, so does Update.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := s.requests.Get().(*request)
	r.ctx, r.fn = ctx, fn
	r.state.Store(queued)
	if !s.queue.push(r) {
		return store.ErrClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(queued, gone) {
			return ctx.Err() // the committer drops the request
		}
		<-r.done
	}
	err, panicked, exited := r.err, r.panicked, r.exited
	r.ctx, r.fn, r.ran, r.err, r.panicked, r.exited = nil, nil, false, nil, nil, false
	s.requests.Put(r)
	if exited {
		runtime.Goexit()
	}
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// queue holds the requests that the committer has not taken yet.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	wake    chan struct{} // has a value when the queue may have changed
}

func (q *queue) init() { q.wake = make(chan struct{}, 1) }

// push adds r. It returns false if the queue is closed.
func (q *queue) push(r *request) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.waiting = append(q.waiting, r)
	first := len(q.waiting) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
	return true
}

// take returns the waiting requests and reuses spare for later ones.
func (q *queue) take(spare []*request) (all []*request, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, q.waiting = q.waiting, spare[:0]
	return all, q.closed
}

// close refuses further requests. It reports whether the queue was open.
func (q *queue) close() bool {
	q.mu.Lock()
	was := q.closed
	q.closed = true
	q.mu.Unlock()
	q.signal()
	return !was
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
