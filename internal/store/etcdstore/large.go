package etcdstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// eachChunk calls fn for the chunks of l that are not in the records yet, as
// they are at the given revision.
func (s *Store) eachChunk(ctx context.Context, l *large, revision int64, fn func(*writes) error) error {
	for i := l.Moved; i < l.Chunks; i++ {
		w, err := s.chunk(ctx, l, i, revision)
		if err != nil {
			return err
		}
		if w == nil {
			return errChunkMissing
		}
		if err := fn(w); err != nil {
			return err
		}
	}
	return nil
}

// errChunkMissing means that part of a committed change is lost: nobody but the servers
// that moved it may delete a chunk.
var errChunkMissing = fmt.Errorf("%w (part of a large change is missing)", errForeign)

// chunk reads chunk i of l, or returns nil if there is none.
func (s *Store) chunk(ctx context.Context, l *large, i int, revision int64) (*writes, error) {
	resp, err := s.client.rangeOf(ctx, &pb.RangeRequest{Key: s.keys.chunk(l.ID, i), Revision: revision})
	if err != nil || len(resp.Kvs) == 0 {
		return nil, err
	}
	return decodeWrites(resp.Kvs[0].Value)
}

// nextChunk reads the chunk of st that is moved next, or returns nil if another server
// has moved it.
func (s *Store) nextChunk(ctx context.Context, st *state) (*writes, error) {
	l := st.head.Large
	resp, err := s.client.txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{valueIs(s.keys.commit(), st.raw)},
		Success: []*pb.RequestOp{get(s.keys.chunk(l.ID, l.Moved))},
	})
	if err != nil || !resp.Succeeded {
		return nil, err
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return nil, errChunkMissing
	}
	return decodeWrites(kvs[0].Value)
}

// large commits the next request, whose writes are too much for one transaction,
// or whose function runs for too long: it locks the commit key before the function
// runs, uploads the writes as chunks, and makes them visible with one commit. They
// are moved to the records later; see settle.
func (c *committer) large(base *state) error {
	lock := c.successor(base)
	lock.Large = &large{ID: rand.Text(), By: c.me()}
	made, err := c.commit(base, lock, nil, nil)
	if err != nil || !made {
		return err
	}
	st := c.s.acquire()
	defer st.release()
	if st.head.ID != lock.ID {
		return nil // broken already
	}
	quiet := c.showLife(st)
	c.runAll(st, 1)
	quiet()
	w, err := c.collect(st)
	if err != nil {
		return err
	}
	next := c.successor(st)
	if !w.large() {
		// It is not large, or not on this state, or has failed. The signs of life go.
		g := &c.g
		if c.outcome != nil {
			g = nil // its writes are not made
		}
		made, err = c.commit(st, next, w, g, remove(c.s.keys.allChunks()))
	} else {
		parts := w.chunks()
		for i, part := range parts {
			ok, err := c.upload(st, i, part)
			if err != nil {
				return err
			}
			if !ok {
				c.retry()
				return nil
			}
		}
		next.Large = &large{ID: lock.Large.ID, By: c.me(), Chunks: len(parts)}
		made, err = c.commit(st, next, nil, &c.g)
	}
	if err != nil {
		return err
	}
	if !made {
		c.retry()
		return nil
	}
	c.locking = false
	group.Answer(c.g.Take(), c.outcome)
	return nil
}

// maxSigns limits for how long a function may keep the lock: for as many quarters
// of the time after which others break it.
const maxSigns = 20

// showLife shows that the function that runs under the lock is not done yet, until
// the function that it returns is called.
func (c *committer) showLife(locked *state) (quiet func()) {
	ctx, cancel := context.WithCancel(c.s.ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for i := range maxSigns {
			select {
			case <-time.After(c.s.opts.timing.lock / 4):
				// If it fails, the lock may be broken, which the upload notices.
				_, _ = c.s.whileLocked(ctx, locked, c.s.keys.sign(locked.head.Large.ID, i), nil)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); running.Wait() }
}

// upload writes a chunk while the commit key is locked. It returns false if the
// lock was broken.
func (c *committer) upload(locked *state, i int, part *writes) (bool, error) {
	return c.s.whileLocked(c.s.ctx, locked, c.s.keys.chunk(locked.head.Large.ID, i), part.encode())
}

// whileLocked sets a key of a large change. It returns false if the lock was broken.
func (s *Store) whileLocked(ctx context.Context, locked *state, key, value []byte) (bool, error) {
	resp, err := s.client.txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{valueIs(s.keys.commit(), locked.raw)},
		Success: []*pb.RequestOp{put(key, value)},
	})
	if err != nil {
		return false, err
	}
	s.space.used.Add(int64(len(value)))
	return resp.Succeeded, nil
}

// settle brings the large change in progress to its end: it moves a chunk of a
// committed one to the records, or waits for one that is not committed, and
// breaks its lock if it makes no progress.
func (c *committer) settle(st *state) error {
	if l := st.head.Large; l.moving() {
		if !c.mine(st) && !c.move.stalled(l, c.s.opts.timing.help) {
			c.s.changedWithin(st, c.s.opts.timing.help)
			return nil
		}
		if err := c.awaitTurn(); err != nil || c.s.newest.Load() != st {
			return err
		}
		return c.moveOne(st)
	}
	if !c.mine(st) {
		if stuck, err := c.stuck(st); err != nil || !stuck {
			return err
		}
		c.s.log.Warn("store: a large change by another server made no progress and is canceled")
	}
	next := c.successor(st)
	from, to := c.s.keys.allChunks()
	_, err := c.commit(st, next, nil, nil, remove(from, to))
	return err
}

// moveOne moves the next chunk to the records.
func (c *committer) moveOne(st *state) error {
	l := *st.head.Large
	w, err := c.s.nextChunk(c.s.ctx, st)
	if err != nil {
		if fatal(err) {
			c.s.stop(err)
		}
		return err
	}
	if w == nil {
		c.s.changedWithin(st, c.s.opts.timing.behind)
		return nil
	}
	next := c.successor(st)
	var extra []*pb.RequestOp
	l.By = c.me() // this server moves the next ones, too
	if l.Moved++; l.Moved < l.Chunks {
		next.Large = &l
	} else {
		next.Large = nil
		extra = append(extra, remove(c.s.keys.allChunks()))
	}
	_, err = c.commit(st, next, w, nil, extra...)
	return err
}

// stuck waits for a sign of life of the server that has locked the commit key,
// and reports whether there was none for too long.
func (c *committer) stuck(st *state) (bool, error) {
	limit := c.s.opts.timing.lock
	for last := int64(-1); ; {
		from, to := c.s.keys.chunks(st.head.Large.ID)
		resp, err := c.s.client.rangeOf(c.s.ctx, &pb.RangeRequest{Key: from, RangeEnd: to, CountOnly: true})
		if err != nil {
			return false, err
		}
		if resp.Count == last {
			return true, nil
		}
		last = resp.Count
		if c.s.changedWithin(st, limit) {
			return false, nil
		}
		select {
		case <-c.s.closing:
			return false, store.ErrClosed
		default:
		}
	}
}

// moveState is what a committer knows about the large change that is being moved.
type moveState struct {
	id    string
	spans []span // of the chunks

	// moved is the number of chunks that were moved at time at.
	moved int
	at    time.Time

	mine bool // this server moved a chunk since its last group
}

// of makes m that of l.
func (m *moveState) of(l *large) {
	if m.id != l.ID {
		*m = moveState{id: l.ID}
	}
	if m.moved != l.Moved || m.at.IsZero() {
		m.moved, m.at = l.Moved, time.Now()
	}
}

// stalled reports whether no chunk of l was moved for the time limit.
func (m *moveState) stalled(l *large, limit time.Duration) bool {
	m.of(l)
	return time.Since(m.at) > limit
}

// mine reports whether this server makes the large change in progress.
func (c *committer) mine(st *state) bool { return st.head.Large.By == c.me() }

// mustSettle reports whether the next group has to wait for a step of the large
// change in progress. While its chunks are moved, groups and steps take turns.
func (c *committer) mustSettle(st *state) bool {
	l := st.head.Large
	switch {
	case !l.moving():
		return true
	case c.mine(st):
		c.move.of(l)
		c.move.mine = !c.move.mine
		return c.move.mine
	}
	return c.move.stalled(l, c.s.opts.timing.help)
}

// free reports whether w may be committed although chunks of a large change are not
// in the records yet: it must not write where they do. Otherwise a chunk would
// replace a later write when it is moved, or when a server that starts applies it.
func (c *committer) free(st *state, w *writes) (bool, error) {
	l := st.head.Large
	if !l.moving() || c.s.opts.omit.spans {
		return true, nil
	}
	c.move.of(l)
	for i := len(c.move.spans); i < l.Chunks; i++ {
		var x span
		if i >= l.Moved {
			chunk, err := c.s.chunk(c.s.ctx, l, i, 0)
			if err != nil || chunk == nil { // another server has moved it
				return false, err
			}
			x = chunk.span()
		}
		c.move.spans = append(c.move.spans, x)
	}
	return !slices.ContainsFunc(c.move.spans[l.Moved:], w.touches), nil
}
