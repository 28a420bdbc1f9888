package pebblestore

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

const (
	// A group that reaches one of these limits takes no more requests.
	groupBytes    = 8 << 20
	groupRequests = 4096

	// The engine is overloaded when it has more unflushed bytes in memory, or
	// more overlapping layers of tables, than this.
	maxUnflushed = 4 * memTableSize
	maxLayers    = 40

	// engineWait is how long a change waits for an overloaded engine.
	engineWait = 10 * time.Second
)

var errBehind = errors.New("the engine is behind with its background work")

// The committer makes changes in groups: it runs all waiting requests one
// after another, and commits their writes as one batch with one sync of the
// log.
//
// It has two stages, each with its own goroutine. The executor runs the
// functions and applies the batch to the engine; the syncer waits until the
// batch is durable, publishes the new state and answers the callers. While one
// group is being synced, the executor runs the next one on top of it, but
// applies it only once the first is published. So at most one group in the
// engine is not durable, and the published state contains only durable groups.
type committer struct {
	store  *Store
	toSync chan *group   // executor to syncer
	synced chan struct{} // syncer to executor: the group is published, or lost
	tasks  chan func()   // work for the executor between two groups

	// The executor's state. It is here and not on the stack because a function
	// that ends its goroutine ends the executor, and a new goroutine takes
	// over.
	finished bool
	requests []*request // taken from the queue
	next     int        // index of the first request that has not run
	closed   bool       // the queue is closed
	tx       tx
	changes  changes
	revs     *revisions       // of the state below the group
	changed  tableSet         // tables that the group has written to
	free     space            // free space before the group
	deferred []store.Deferred // work of the changes of the next group
	members  []*request       // requests that have run in the next group
	inflight bool             // a group is with the syncer
	task     func()           // runs once no group is in flight
}

// A group is a batch handed to the syncer, with its requests.
type group struct {
	gen     *generation
	batch   *pebble.Batch
	revs    *revisions // of the state with this group
	members []*request
}

func newCommitter(s *Store) *committer {
	c := &committer{
		store:  s,
		toSync: make(chan *group),
		synced: make(chan struct{}, 1),
		tasks:  make(chan func()),
	}
	c.tx.changes, c.tx.changed = &c.changes, &c.changed
	c.revs = &revisions{}
	return c
}

// execute runs the executor.
func (c *committer) execute() {
	defer func() {
		if !c.finished {
			go c.execute()
			return
		}
		close(c.toSync)
		c.store.loops.Done()
	}()
	for {
		c.runWaiting()
		switch {
		case c.inflight:
			c.wait()
		case len(c.members) > 0:
			c.commit()
		case c.task != nil:
			task := c.task
			c.task = nil
			task()
		case c.closed && c.next == len(c.requests):
			c.finished = true
			return
		default:
			c.wait()
		}
	}
}

// wait waits for work.
func (c *committer) wait() {
	wake, tasks := c.store.queue.wake, c.tasks
	if c.full() {
		wake = nil
	}
	if c.task != nil {
		wake, tasks = nil, nil
	}
	select {
	case <-wake:
	case <-c.synced:
		c.inflight = false
	case c.task = <-tasks:
	}
}

// full reports whether the group takes no more requests.
func (c *committer) full() bool {
	return c.changes.size() >= groupBytes || len(c.members) >= groupRequests
}

// runWaiting runs the waiting requests.
func (c *committer) runWaiting() {
	for c.task == nil && !c.full() {
		if c.next == len(c.requests) {
			clear(c.requests)
			c.requests, c.closed = c.store.queue.take(c.requests)
			if c.next = 0; len(c.requests) == 0 {
				return
			}
		}
		r := c.requests[c.next]
		c.next++
		if r.state.CompareAndSwap(queued, taken) {
			c.run(r)
		}
	}
}

// run runs the function of r and adds r to the next group. If the function
// fails, its writes are undone at once.
func (c *committer) run(r *request) {
	gen := c.store.gen.Load()
	returned := false
	defer func() {
		if !returned {
			// A function that ends its goroutine leaves nothing to recover,
			// and also ends this goroutine.
			r.panicked = recover()
			r.exited = r.panicked == nil
		}
		c.tx.end()
		if !returned || r.err != nil {
			if err := c.changes.rollback(); err != nil {
				gen.disk.fail(err) // the group is refused
			}
		} else {
			c.deferred = append(c.deferred, c.tx.deferred...)
		}
		c.tx.deferred = c.tx.deferred[:0]
		c.members = append(c.members, r)
	}()
	if len(c.members) == 0 {
		c.free = c.store.freeSpace()
	}
	c.changes.mark(gen)
	if r.err = r.ctx.Err(); r.err == nil {
		if err := gen.disk.failure(); err != nil {
			r.err = unavailable(err)
		} else {
			c.tx.src, c.tx.revs, r.ran = c.changes.batch, c.revs, true
			if r.err = r.fn(&c.tx); r.err == nil && c.changes.written() {
				r.err = c.store.spaceFor(r.ctx, c.free, c.changes.size())
			}
		}
	}
	returned = true
}

// commit applies the group to the engine and hands it to the syncer; if there
// is nothing to sync, it answers the group itself. No group may be in flight.
func (c *committer) commit() {
	gen := c.store.gen.Load()
	if err := gen.disk.failure(); err != nil {
		// The functions may have seen a state that was lost.
		c.drop(unavailable(err))
		return
	}
	if err := c.commitDeferred(); err != nil {
		c.drop(err)
		return
	}
	if c.changes.empty() {
		c.drop(nil)
		return
	}
	if err := c.apply(gen); err != nil {
		if !integrity.IsStoreError(err) {
			err = unavailable(err)
		}
		c.drop(err)
		return
	}
	c.store.counters.groups.Add(1)
	c.store.counters.changes.Add(uint64(len(c.members)))
	c.store.counters.logBytes.Add(uint64(c.changes.size()))
	c.inflight = true
	c.toSync <- &group{gen: gen, batch: c.changes.take(), revs: c.nextRevisions(), members: c.members}
	c.members = nil
}

// commitDeferred does the work that the changes of the group share.
func (c *committer) commitDeferred() (err error) {
	if len(c.deferred) == 0 {
		return nil
	}
	c.tx.src, c.tx.revs = c.changes.batch, c.revs
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: deferred work panicked: %v", p)
		}
		c.tx.end()
		clear(c.deferred)
		c.deferred, c.tx.deferred = c.deferred[:0], nil
	}()
	return c.deferred[0].Commit(&c.tx, c.deferred[1:])
}

// nextRevisions advances to the state that includes the group.
func (c *committer) nextRevisions() *revisions {
	c.revs = c.revs.next(&c.changed)
	c.changed = tableSet{}
	return c.revs
}

// drop discards the group's writes and answers its requests, with err if it is
// not nil.
func (c *committer) drop(err error) {
	c.changes.reset()
	c.changed = tableSet{}
	clear(c.deferred)
	c.deferred = c.deferred[:0]
	members := c.members
	c.members = nil
	answer(members, err)
}

// answer completes requests, with err if it is not nil.
func answer(members []*request, err error) {
	for _, r := range members {
		if err != nil && r.ran && r.panicked == nil && !r.exited {
			r.err = err
		}
		r.done <- struct{}{}
	}
}

// apply writes the group to the engine. It does not wait for the sync.
func (c *committer) apply(gen *generation) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine: %v", p)
			gen.disk.fail(err)
		}
	}()
	if err := gen.waitForEngine(); err != nil {
		return err
	}
	return gen.db.ApplyNoSyncWait(c.changes.batch, pebble.Sync)
}

// waitForEngine waits while the engine is behind with background work.
func (gen *generation) waitForEngine() error {
	if !gen.busy.Load() {
		return nil
	}
	var timeout <-chan time.Time
	for {
		gen.busy.Store(false)
		m := gen.db.Metrics()
		if m.MemTable.Size <= maxUnflushed && int(m.Levels[0].Sublevels) <= maxLayers {
			return nil
		}
		gen.busy.Store(true)
		if timeout == nil {
			timeout = time.After(engineWait)
		}
		select {
		case <-gen.progress:
		case <-gen.stop:
			return gen.disk.failure()
		case <-timeout:
			return errBehind
		}
	}
}

// sync runs the syncer.
func (c *committer) sync() {
	for g := range c.toSync {
		g.gen.disk.checkFiles() // while the disk syncs
		err := g.batch.SyncWait()
		if failure := g.gen.disk.failure(); failure != nil {
			err = failure // the engine doesn't know: see disk
		}
		if err == nil {
			c.store.publish(g.gen, g.revs)
			g.gen.touched()
		} else {
			err = unavailable(err)
		}
		c.synced <- struct{}{}
		answer(g.members, err)
	}
}

// between runs task on the executor's goroutine while no group is in flight.
// It returns false if the store was closed before task could run.
func (c *committer) between(task func()) bool {
	done := make(chan struct{})
	select {
	case c.tasks <- func() { defer close(done); task() }:
		<-done
		return true
	case <-c.store.stopping:
		return false
	}
}
