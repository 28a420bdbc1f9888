package etcdstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	// A group that reaches one of these limits takes no more requests.
	groupBytes  = 512 << 10
	groupWrites = 1500

	// A server that has the turn and no work gives it up after idleTurn.
	idleTurn = 2 * time.Millisecond

	// How long a server waits for its turn: a multiple of the time that a
	// commit takes, within these limits.
	minTurn, maxTurn = 25 * time.Millisecond, 500 * time.Millisecond

	// maxTurns limits the wait for a turn while others commit.
	maxTurns = 20

	// maxLosses is how often other servers may be faster before the commit key is
	// locked. Functions that run for longer than others wait for a turn would
	// otherwise never be committed.
	maxLosses = 5
)

// The committer makes changes in groups: it runs all waiting requests one after
// another on the newest state, and commits their writes as one transaction. If
// another server was faster, it runs them all again on the state that this
// server has made.
type committer struct {
	s       *Store
	g       group.Group
	outcome error            // of the group as a whole, once it is confirmed
	again   []*group.Request // must run again
	todo    []*group.Request // have not run yet
	closed  bool             // the queue is closed
	single  bool             // the next group takes only one request
	locking bool             // the next request needs the lock of a large change
	reserve store.Reserve    // that the last request may use

	took   time.Duration // smoothed duration of a commit
	asked  int64         // revision in which this server asked for a turn, or 0
	lost   bool          // another server was faster
	losses int           // in a row
	skip   string        // the server that has let its turn pass
	worked bool          // something was committed since the last idle turn

	move moveState
}

func newCommitter(s *Store) *committer {
	c := &committer{s: s, took: 10 * time.Millisecond}
	c.g.Few, c.g.MaxValue = 1, maxValue
	c.g.Check = func(ctx context.Context) error {
		c.reserve = store.ReserveOf(ctx)
		return s.space.allows(c.reserve, c.g.Size())
	}
	return c
}

func (c *committer) me() string { return c.s.registration.incarnation() }

// run is the committer's goroutine.
func (c *committer) run() {
	for {
		c.take()
		switch {
		case len(c.again)+len(c.todo) > 0:
			if err := c.cycle(); err != nil {
				c.fail(c.s.closedOr(err))
			}
		case c.closed:
			return
		default:
			c.idle()
		}
	}
}

// take takes the waiting requests from the queue.
func (c *committer) take() {
	var more []*group.Request
	more, c.closed = c.s.queue.Take(nil)
	c.todo = append(c.todo, more...)
}

// fail answers all requests with err, including those that arrived during the
// failed attempt.
func (c *committer) fail(err error) {
	c.take()
	group.Answer(c.again, err)
	group.Answer(c.g.Take(), err)
	for _, r := range c.todo {
		if r.Take() {
			c.g.Refuse(r, err)
		}
	}
	group.Answer(c.g.Take(), nil)
	c.again, c.todo, c.single, c.locking, c.losses = nil, nil, false, false, 0
}

// retry makes the group's requests run again.
func (c *committer) retry() { c.again = append(c.g.Take(), c.again...) }

// cycle commits one group, or does what must be done before.
func (c *committer) cycle() error {
	if err := c.s.refusal(); err != nil {
		return err
	}
	if err := c.s.awaitRegistration(); err != nil {
		return err
	}
	if err := c.awaitTurn(); err != nil {
		return err
	}
	c.take()
	st := c.s.acquire()
	defer st.release()
	switch {
	case st.copy.failure.Load() != nil:
		if !c.s.changedWithin(st, c.s.opts.timing.patience) {
			return engine.Unavailable(errors.New("the copy of etcd is being loaded"))
		}
		return nil
	case st.head.Large != nil && (c.locking || c.mustSettle(st)):
		return c.settle(st)
	case st.head.Large == nil && (c.locking || c.losses > maxLosses):
		return c.large(st)
	}
	limit := len(c.again) + len(c.todo)
	if c.single {
		limit, c.single = 1, false
	}
	c.runAll(st, limit)
	if c.g.Len() == 0 {
		return nil
	}
	w, err := c.collect(st)
	switch {
	case err != nil:
		return err
	case w.large() && c.g.Len() > 1:
		c.single = true
		c.retry()
		return nil
	case w.large():
		// Others may have committed while the function ran.
		c.locking = true
		c.retry()
		return nil
	case len(w.list) == 0 && !c.s.opts.omit.empty:
		// The functions, and the errors that they return, must have seen a state
		// that was the newest at some moment since they were called.
		head, err := c.s.confirm(c.s.ctx)
		if err != nil {
			return err
		}
		if head.ID != st.head.ID {
			c.retry()
			return nil
		}
	case len(w.list) > 0:
		if free, err := c.free(st, w); err != nil || !free {
			c.retry()
			return cmp.Or(err, c.settle(st))
		}
		made, err := c.commit(st, c.successor(st), w, &c.g)
		if err != nil {
			return err
		}
		if !made {
			c.retry()
			return nil
		}
		c.worked = true
	}
	group.Answer(c.g.Take(), c.outcome)
	return nil
}

// runAll runs up to limit requests on st, until the group is full.
func (c *committer) runAll(st *state, limit int) {
	var base engine.Reader
	full := false
	for !full && c.g.Len() < limit && len(c.again)+len(c.todo) > 0 {
		// A function may end its goroutine.
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer base.End()
			for !full && c.g.Len() < limit && len(c.again)+len(c.todo) > 0 {
				r := c.nextRequest()
				if r == nil {
					continue
				}
				base.Begin(st.snap, st.revs)
				c.g.Run(r, &base)
				base.End()
				if c.g.Len() > 1 && (c.g.Size() > maxBytes/2 || c.g.Writes() > maxWrites/2) {
					c.again = append([]*group.Request{c.g.Undo()}, c.again...)
					full = true
				}
				full = full || c.g.Size() >= groupBytes || c.g.Writes() >= groupWrites
			}
		}()
		<-done
	}
}

// nextRequest returns the next request, or nil if its caller has left.
func (c *committer) nextRequest() *group.Request {
	if len(c.again) > 0 {
		r := c.again[0]
		c.again = c.again[1:]
		return r
	}
	r := c.todo[0]
	c.todo = c.todo[1:]
	if !r.Take() {
		return nil
	}
	return r
}

// collect does the group's deferred work and returns its writes: none if the group as a
// whole has failed.
func (c *committer) collect(st *state) (*writes, error) {
	base := st.reader()
	defer base.End()
	if c.outcome = c.g.Deferred(base); c.outcome != nil {
		return new(writes), nil
	}
	w, err := collect(&c.g, base)
	if err == nil && w.large() && c.g.Len() == 1 {
		// It is written twice: as chunks, and to the records.
		if c.outcome = c.s.space.allows(c.reserve, 2*w.bytes); c.outcome != nil {
			return new(writes), nil
		}
	}
	return w, err
}

// successor returns a commit that follows st.
func (c *committer) successor(st *state) *commit {
	h := st.head
	next := &commit{
		Format: format, Store: h.Store, Epoch: h.Epoch, N: h.N + 1,
		ID: rand.Text(), Prev: h.ID, By: c.me(), Time: max(c.s.now().UnixMilli(), h.Time),
	}
	if h.Large.moving() {
		next.Large = h.Large
	}
	return next
}

// commit commits w, and what else the transaction does, as next on top of base.
// It returns false if another server was faster. When it returns true, the
// newest state includes next, with the writes of g.
func (c *committer) commit(base *state, next *commit, w *writes, g *group.Group, extra ...*pb.RequestOp) (bool, error) {
	if w != nil && !base.head.movesTo(next) {
		next.Events = w.events
	}
	wants := c.round(base, next)
	ops := append(c.s.operations(w), extra...)
	for _, who := range wants {
		ops = append(ops, remove(c.s.keys.want(who), nil))
	}
	raw := next.encode()
	begin := time.Now()
	made, revision, err := c.s.transact(base, next, raw, append(ops, put(c.s.keys.commit(), raw)))
	if err != nil {
		return false, err
	}
	if c.lost = !made; c.lost {
		c.losses++
		return false, nil
	}
	c.losses = 0
	c.took += (time.Since(begin) - c.took) / 8
	c.asked, c.skip = 0, ""
	if revision > 0 {
		if err := c.s.publishOwn(base, next, raw, revision, g); err != nil {
			// The change is made; the copy is not to be trusted.
			c.s.giveUp(base.copy, err)
		}
	}
	return true, c.s.await(c.s.ctx, next)
}

// transact commits next with ops on top of base. It returns false if another
// server was faster. The revision is 0 if it is not known.
func (s *Store) transact(base *state, next *commit, raw []byte, ops []*pb.RequestOp) (made bool, revision int64, err error) {
	id := s.opts.Server.ID
	compare := []*pb.Compare{leaseIs(s.keys.server(id), s.registration.leaseID()), valueIs(s.keys.commit(), base.raw)}
	if s.opts.omit.compare {
		compare = compare[:1]
	}
	resp, err := s.client.txn(s.ctx, &pb.TxnRequest{
		Compare: compare,
		Success: ops,
		Failure: []*pb.RequestOp{get(s.keys.commit())},
	})
	if err != nil {
		// It may be under way still. If it has arrived, the watch shows it.
		if s.history.id(next.N) == next.ID {
			return true, 0, nil
		}
		return false, 0, err
	}
	if resp.Succeeded {
		return true, resp.Header.Revision, nil
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		s.stop(ErrRestored)
		return false, 0, ErrRestored
	}
	found, err := decodeCommit(kvs[0].Value)
	if err == nil {
		err = s.compare(base.head, found)
	}
	if err != nil {
		s.stop(err)
		return false, 0, err
	}
	if found.ID == base.head.ID {
		s.registration.lose()
		return false, 0, nil
	}
	// The request may have been sent more than once. Whoever made commit
	// next.N has it, and nobody can make it again.
	if err := s.await(s.ctx, found); err != nil {
		return false, 0, err
	}
	switch id := s.history.id(next.N); {
	case s.opts.omit.doubt:
		return false, 0, nil
	case id == next.ID:
		return true, 0, nil
	case id == "":
		return false, 0, engine.Unavailable(errors.New("the copy was loaded again before it showed whether the change was made"))
	}
	return false, 0, nil
}

func valueIs(key, value []byte) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_VALUE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_Value{Value: value}}
}

func leaseIs(key []byte, lease int64) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_LEASE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_Lease{Lease: lease}}
}

// round decides in next whose turn comes after it, and returns the servers whose
// wishes are met with that.
func (c *committer) round(base *state, next *commit) (wants []string) {
	me := c.me()
	c.s.applying.Lock()
	for who := range c.s.wants {
		wants = append(wants, who)
	}
	c.s.applying.Unlock()
	slices.Sort(wants)
	if len(wants) > maxWants {
		wants = wants[:maxWants]
	}
	next.Wait = without(base.head.Wait, me)
	if c.skip != "" {
		next.Wait = without(next.Wait, c.skip)
	}
	for _, who := range wants {
		if who != me && !slices.Contains(next.Wait, who) {
			next.Wait = append(next.Wait, who)
		}
	}
	if len(next.Wait) > 0 {
		next.Wait = append(next.Wait, me)
	}
	return wants
}

// awaitTurn waits while it is another server's turn, for a limited time: turns
// only avoid transactions that are refused.
func (c *committer) awaitTurn() error {
	me := c.me()
	limit := min(max(4*c.took, minTurn), maxTurn)
	for end := time.Now().Add(maxTurns * limit); time.Now().Before(end); {
		st := c.s.newest.Load()
		round := st.head.Wait
		if len(round) == 0 && !c.lost || len(round) > 0 && round[0] == me {
			return nil
		}
		// A server that was skipped must ask again.
		if !slices.Contains(round, me) && (c.asked == 0 || st.revision >= c.asked && !c.s.wantsTurn(me)) {
			resp, err := c.s.client.txn(c.s.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{put(c.s.keys.want(me), nil)}})
			if err != nil {
				return err
			}
			c.asked = resp.Header.Revision
		}
		c.lost = false
		if !c.s.changedWithin(st, limit) {
			if len(round) > 0 {
				c.skip = round[0]
			}
			return nil
		}
	}
	return nil
}

// wantsTurn reports whether a server has asked for a turn and is not in the round
// yet.
func (s *Store) wantsTurn(who string) bool {
	s.applying.Lock()
	defer s.applying.Unlock()
	return s.wants[who]
}

// idle waits for work.
func (c *committer) idle() {
	changed := *c.s.changed.Load()
	st := c.s.acquire()
	defer st.release()
	var timer <-chan time.Time
	round := st.head.Wait
	switch {
	case st.head.Large != nil && c.mine(st):
		if err := c.settle(st); err == nil {
			return
		}
		timer = time.After(c.s.opts.timing.attempt)
	case st.head.Large.moving():
		timer = time.After(c.s.opts.timing.help)
	case st.head.Large != nil:
		timer = time.After(c.s.opts.timing.lock)
	case len(round) > 0 && round[0] == c.me():
		timer = time.After(idleTurn)
	}
	select {
	case <-c.s.queue.Wake():
	case <-changed:
	case <-timer:
		if st.head.Large != nil {
			_ = c.settle(st)
		} else if len(round) > 0 {
			c.pass(st)
		}
	}
}

// pass gives the turn to the next server. A server that has done nothing since
// its last turn leaves the round.
func (c *committer) pass(st *state) {
	next := c.successor(st)
	c.round(st, next)
	if !c.worked || len(next.Wait) == 1 {
		next.Wait = without(next.Wait, c.me())
	}
	c.worked = false
	raw := next.encode()
	made, revision, err := c.s.transact(st, next, raw, []*pb.RequestOp{put(c.s.keys.commit(), raw)})
	if err == nil && made && revision > 0 {
		err = c.s.publishOwn(st, next, raw, revision, nil)
	}
	if err != nil {
		_ = c.s.sleep(c.s.opts.timing.behind)
	}
}

// changedWithin waits until st is no longer the newest state, for at most d. It
// reports whether it is not.
func (s *Store) changedWithin(st *state, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		changed := *s.changed.Load()
		if s.newest.Load() != st {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return s.newest.Load() != st
		case <-s.closing:
			return s.newest.Load() != st
		}
	}
}
