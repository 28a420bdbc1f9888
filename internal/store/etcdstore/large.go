package etcdstore

import (
	"context"
	"crypto/rand"
	"fmt"

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

// large commits the request in c.again, whose writes are too much for one
// transaction: it locks the commit key, uploads the writes as chunks, and makes
// them visible with one commit. They are moved to the records later; see settle.
func (c *committer) large(base *state) error {
	lock := c.successor(base)
	lock.Large = &large{ID: rand.Text()}
	made, err := c.commit(base, lock, nil, nil)
	if err != nil || !made {
		return err
	}
	st := c.s.acquire()
	defer st.release()
	if st.head.ID != lock.ID {
		return nil // broken already
	}
	c.runAll(st, 1)
	w, err := c.collect(st)
	if err != nil {
		return err
	}
	next := c.successor(st)
	if !w.large() {
		// It is not large on this state, or has failed.
		made, err = c.commit(st, next, w, &c.g)
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
		next.Large = &large{ID: lock.Large.ID, Chunks: len(parts)}
		made, err = c.commit(st, next, nil, &c.g)
	}
	if err != nil {
		return err
	}
	if !made {
		c.retry()
		return nil
	}
	group.Answer(c.g.Take(), c.outcome)
	return nil
}

// upload writes a chunk while the commit key is locked. It returns false if the
// lock was broken.
func (c *committer) upload(locked *state, i int, part *writes) (bool, error) {
	resp, err := c.s.client.txn(c.s.ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{valueIs(c.s.keys.commit(), locked.raw)},
		Success: []*pb.RequestOp{put(c.s.keys.chunk(locked.head.Large.ID, i), part.encode())},
	})
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

// settle brings the large change in progress to its end: it moves a chunk of a
// committed one to the records, or waits for one that is not committed, and
// breaks its lock if it makes no progress.
func (c *committer) settle(st *state) error {
	l := st.head.Large
	mine := st.head.By == c.me()
	if l.moving() {
		if !mine && c.s.changedWithin(st, c.s.opts.timing.help) {
			return nil
		}
		return c.move(st)
	}
	if !mine {
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

// move moves the next chunk to the records.
func (c *committer) move(st *state) error {
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
	if l.Moved++; l.Moved < l.Chunks {
		next.Large = &l
	} else {
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
