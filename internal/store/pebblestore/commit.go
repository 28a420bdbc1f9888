package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

const (
	// A group that reaches one of these limits takes no more requests.
	groupBytes    = 8 << 20
	groupRequests = 4096

	// fewKeys is the number of keys up to which a range is deleted key by key.
	// A range tombstone slows down later reads, so it must be worth it.
	fewKeys = 64

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
	toSync chan *commit  // executor to syncer
	synced chan struct{} // syncer to executor: the group is published, or lost
	tasks  chan func()   // work for the executor between two groups

	// The executor's state. It is here and not on the stack because a function
	// that ends its goroutine ends the executor, and a new goroutine takes
	// over.
	finished bool
	requests []*group.Request // taken from the queue
	next     int              // index of the first request that has not run
	closed   bool             // the queue is closed
	group    group.Group      // the next group
	base     engine.Reader    // what the group's functions read
	revs     *group.Revisions // of the state below the group
	free     space            // free space before the group
	inflight bool             // a group is with the syncer
	task     func()           // runs once no group is in flight
	batch    *pebble.Batch
	batchGen *generation
}

// A commit is a batch handed to the syncer, with its requests.
type commit struct {
	gen      *generation
	batch    *pebble.Batch
	revs     *group.Revisions // of the state with this group
	requests []*group.Request
}

func newCommitter(s *Store) *committer {
	c := &committer{
		store:  s,
		toSync: make(chan *commit),
		synced: make(chan struct{}, 1),
		tasks:  make(chan func()),
	}
	c.group.Few = fewKeys
	c.group.Check = func(ctx context.Context) error { return s.spaceFor(ctx, c.free, c.group.Size()) }
	c.revs = group.FirstRevisions()
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
		case c.group.Len() > 0:
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
	wake, tasks := c.store.queue.Wake(), c.tasks
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
	return c.group.Size() >= groupBytes || c.group.Len() >= groupRequests
}

// runWaiting runs the waiting requests.
func (c *committer) runWaiting() {
	for c.task == nil && !c.full() {
		if c.next == len(c.requests) {
			clear(c.requests)
			c.requests, c.closed = c.store.queue.Take(c.requests)
			if c.next = 0; len(c.requests) == 0 {
				return
			}
		}
		r := c.requests[c.next]
		c.next++
		if r.Take() {
			c.run(r)
		}
	}
}

// run runs the function of r as part of the next group.
func (c *committer) run(r *group.Request) {
	gen := c.store.gen.Load()
	if c.group.Len() == 0 {
		c.free = c.store.freeSpace()
	}
	if err := gen.disk.failure(); err != nil {
		c.group.Refuse(r, engine.Unavailable(err))
		return
	}
	defer c.base.End()
	c.base.Begin(gen.db, c.revs)
	c.group.Run(r, &c.base)
}

// commit applies the group to the engine and hands it to the syncer; if there
// is nothing to sync, it answers the group itself. No group may be in flight.
func (c *committer) commit() {
	gen := c.store.gen.Load()
	if err := gen.disk.failure(); err != nil {
		// The functions may have seen a state that was lost.
		c.drop(engine.Unavailable(err))
		return
	}
	c.base.Begin(gen.db, c.revs)
	err := c.group.Deferred(&c.base)
	c.base.End()
	if err != nil || c.group.Empty() {
		c.drop(err)
		return
	}
	if err := c.apply(gen); err != nil {
		if !integrity.IsStoreError(err) {
			err = engine.Unavailable(err)
		}
		c.drop(err)
		return
	}
	c.store.counters.groups.Add(1)
	c.store.counters.changes.Add(uint64(c.group.Len()))
	c.store.counters.logBytes.Add(uint64(c.batch.Len()))
	c.inflight = true
	c.revs = c.revs.Next(&c.group.Changed)
	c.toSync <- &commit{gen: gen, batch: c.batch, revs: c.revs, requests: c.group.Take()}
}

// drop discards the group's writes and answers its requests, with err if it is
// not nil.
func (c *committer) drop(err error) { group.Answer(c.group.Take(), err) }

// apply writes the group to the engine. It does not wait for the sync.
func (c *committer) apply(gen *generation) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine: %v", p)
			gen.disk.fail(err)
		}
	}()
	if c.batchGen != gen {
		c.batch, c.batchGen = gen.db.NewBatch(), gen
	}
	c.batch.Reset()
	if err := engine.Fill(c.batch, &c.group, gen.db); err != nil {
		return err
	}
	if err := gen.waitForEngine(); err != nil {
		return err
	}
	return gen.db.ApplyNoSyncWait(c.batch, pebble.Sync)
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
			err = engine.Unavailable(err)
		}
		c.synced <- struct{}{}
		group.Answer(g.requests, err)
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
