package group

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A Request is one call of Update.
type Request struct {
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
	taken        // the store runs it or has run it
	gone         // its caller has left
)

// Take claims a request from the queue before it is run. It returns false if
// the caller has left.
func (r *Request) Take() bool { return r.state.CompareAndSwap(queued, taken) }

// A Queue holds the requests that the store has not taken yet.
type Queue struct {
	requests sync.Pool     // of *Request
	wake     chan struct{} // has a value when the queue may have changed

	mu      sync.Mutex
	waiting []*Request
	closed  bool
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{
		wake:     make(chan struct{}, 1),
		requests: sync.Pool{New: func() any { return &Request{done: make(chan struct{}, 1)} }},
	}
}

// Update queues fn and waits for its outcome, as store.Store defines it. If fn
// panics or ends its goroutine, so does Update.
func (q *Queue) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := q.requests.Get().(*Request)
	r.ctx, r.fn = ctx, fn
	r.state.Store(queued)
	if !q.push(r) {
		return store.ErrClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(queued, gone) {
			return ctx.Err() // the store drops the request
		}
		<-r.done
	}
	err, panicked, exited := r.err, r.panicked, r.exited
	r.ctx, r.fn, r.ran, r.err, r.panicked, r.exited = nil, nil, false, nil, nil, false
	q.requests.Put(r)
	if exited {
		runtime.Goexit()
	}
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// push adds r. It returns false if the queue is closed.
func (q *Queue) push(r *Request) bool {
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

// Take returns the waiting requests and reuses spare for later ones.
func (q *Queue) Take(spare []*Request) (all []*Request, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, q.waiting = q.waiting, spare[:0]
	return all, q.closed
}

// Wake returns a channel that has a value when the queue may have changed.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// Close refuses further requests. It reports whether the queue was open.
func (q *Queue) Close() bool {
	q.mu.Lock()
	was := q.closed
	q.closed = true
	q.mu.Unlock()
	q.signal()
	return !was
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
