package audit

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Only the goroutine that has the turn works on the log's file. Callers that
// find the turn taken wait in a queue, and the first one gets the next turn. A
// turn writes the records of all callers in the queue. So one write serves
// many callers, and a lone caller neither waits for nor wakes another
// goroutine.
//
// A caller that does the work itself cannot return while the system hangs. So
// only Append to a regular file does, where it is worth it. For everything
// else, the turn goes to a new goroutine.

// request is a call that waits for the turn, or for its work to be done.
type request struct {
	body    []byte
	id      ID
	pending bool
	leave   bool         // the caller must not do the work itself
	task    func() error // used instead of a body
	slow    bool         // the task has no time limit
	err     error
	next    *request
	wake    chan bool // true: take the turn; false: the work is done, see err
}

const (
	// maxWrite limits the duration of a turn. A longer turn means that the log
	// hangs, and nobody waits for it.
	maxWrite = 5 * time.Second
	// watchInterval is how often turns are checked.
	watchInterval = maxWrite / 5
)

// errHanging means that a system call on the log's file does not return.
var errHanging = fmt.Errorf("%w: a write has been blocked for %v", ErrUnavailable, maxWrite)

type queue struct {
	mu          sync.Mutex
	first, last *request // waiting
	busy        bool     // a goroutine has the turn
	turns       uint64   // number of turns so far
	slow        bool     // the turn has no time limit
	leader      *request // its caller has the turn; nil if a new goroutine has it
	batch       *request // being written; nil once abandoned

	// copied is the number of the turn that no longer needs the requests of
	// its batch.
	copied atomic.Uint64

	head Checkpoint // copy of Log.head for readers without the turn
	size int64
}

// wait returns when r is done, or with an error if the log hangs.
func (l *Log) wait(r *request) error {
	q := &l.queue
	q.mu.Lock()
	if err := l.troubles[hanging].get(); err != nil {
		q.mu.Unlock()
		return err
	}
	if q.first == nil {
		q.first = r
	} else {
		q.last.next = r
	}
	q.last = r
	lead := false
	if !q.busy {
		lead = l.begin()
	}
	q.mu.Unlock()
	if lead || <-r.wake {
		l.turn(r)
	}
	return r.err
}

// begin gives the turn to the first request in the queue. It reports whether
// that request's caller must take it; otherwise, a goroutine does. q.mu must
// be held.
func (l *Log) begin() (inline bool) {
	q := &l.queue
	q.busy, q.leader, q.slow = true, nil, q.first.slow
	q.turns++
	if !q.first.leave && !l.stream() {
		q.leader = q.first
		return true
	}
	go l.turn(nil)
	return false
}

// turn processes the start of the queue and passes the turn on. The first
// request belongs to leader, if it isn't nil.
func (l *Log) turn(leader *request) {
	var err error
	task := leader == nil && l.queue.startsWithTask()
	if !task {
		err = l.ready()
		// Let other callers queue up, to be served by the same write.
		runtime.Gosched()
	}
	l.pending = l.pending[:0]
	switch batch, turn := l.queue.take(); {
	case batch == nil || err != nil:
	case task:
		l.queue.copied.Store(turn)
		err = batch.task()
	default:
		err = l.write(batch, turn)
	}
	l.end(leader, err)
}

func (q *queue) startsWithTask() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.first != nil && q.first.task != nil
}

// take dequeues the first request if it has a task, or else as many records as
// fit into one write. It also returns the number of the turn.
func (q *queue) take() (*request, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first, last := q.first, q.first
	if first == nil {
		return nil, q.turns // all were abandoned
	}
	for size := len(first.body); first.task == nil && last.next != nil && last.next.task == nil; last = last.next {
		if size += len(last.next.body); size > maxBatch {
			break
		}
	}
	q.first, last.next = last.next, nil
	q.batch = first
	return first, q.turns
}

// end ends a turn: it passes the turn on, and wakes the callers of the batch.
func (l *Log) end(leader *request, err error) {
	q := &l.queue
	q.mu.Lock()
	batch := q.batch
	q.batch, q.head, q.size = nil, l.head, l.size
	hung := l.troubles[hanging].get() != nil && l.troubles[hanging].swap(nil) != nil
	if hung && err == nil {
		for _, p := range l.pending {
			l.late[p.id] = true
		}
	}
	if q.busy = q.first != nil; q.busy && l.begin() {
		q.first.wake <- true // never blocks: a request is woken only once
	}
	q.mu.Unlock()
	if hung {
		l.tellRecovered()
	}
	for r := batch; r != nil; {
		next := r.next // r belongs to its caller once that is woken
		if r != leader {
			r.err = err
			r.wake <- false
		}
		r = next
	}
	if leader != nil {
		leader.err = err
	}
}

// watch finds turns that do not end, and checks the disk space.
func (l *Log) watch() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var seen uint64
	var looking atomic.Bool
	for late := 0; ; {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		q := &l.queue
		hung := false
		q.mu.Lock()
		if !q.busy || q.slow || q.turns != seen {
			seen, late = q.turns, 0
		} else if late++; late >= int(maxWrite/watchInterval) {
			hung = l.abandon()
		}
		q.mu.Unlock()
		if hung {
			l.logger.Error("audit log cannot be written", "path", l.path, "error", errHanging)
		}
		if !l.stream() && looking.CompareAndSwap(false, true) {
			go func() { // the disk may hang
				l.checkSpace()
				looking.Store(false)
			}()
		}
	}
}

// abandon fails all requests in the queue and the batch, except the leader's,
// which cannot return. It reports whether the log was not hanging before. q.mu
// must be held.
func (l *Log) abandon() (news bool) {
	q := &l.queue
	var leader *request
	tell := func(r *request) {
		for r != nil {
			next := r.next
			if r == q.leader {
				leader, r.next = r, nil
			} else {
				r.err = errHanging
				r.wake <- false
			}
			r = next
		}
	}
	tell(q.first)
	q.first, q.last = leader, leader
	if q.copied.Load() == q.turns {
		tell(q.batch)
		q.batch = nil
	}
	return l.troubles[hanging].swap(&errHanging) == nil
}
