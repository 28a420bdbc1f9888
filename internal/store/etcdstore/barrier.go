package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// barrier shares linearizable reads of the commit key. A caller gets the result
// of a read that was sent after it had called: the read that is under way may be
// too old for it, so it waits for the next one, with all others who have come
// since.
type barrier struct {
	mu      sync.Mutex
	running bool
	sent    *shared // the read that is under way
	next    *shared
}

// shared is the result of one read.
type shared struct {
	done   chan struct{}
	commit *commit
	err    error
}

// confirm returns the last commit at some moment since it was called, and makes
// sure that the newest state includes it.
func (s *Store) confirm(ctx context.Context) (*commit, error) {
	if err := s.refusal(); err != nil {
		return nil, err
	}
	r := s.barrier.join(s.readCommits, s.opts.omit)
	// The read may have to wait for another one, which takes as long as this one.
	patience := time.NewTimer(s.opts.timing.patience)
	defer patience.Stop()
	select {
	case <-r.done:
	case <-patience.C:
		return nil, engine.Unavailable(errors.New("etcd does not answer"))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.commit, s.await(ctx, r.commit)
}

// join returns the next read, and starts run if it is not running.
func (b *barrier) join(run func(), omit omissions) *shared {
	b.mu.Lock()
	defer b.mu.Unlock()
	if omit.next && b.running && b.sent != nil {
		return b.sent
	}
	if b.next == nil {
		b.next = &shared{done: make(chan struct{})}
	}
	if !b.running {
		b.running = true
		go run()
	}
	return b.next
}

// readCommits makes the reads that callers wait for, one after another.
func (s *Store) readCommits() {
	for {
		s.barrier.mu.Lock()
		r := s.barrier.next
		s.barrier.next, s.barrier.sent = nil, r
		if r == nil {
			s.barrier.running = false
			s.barrier.mu.Unlock()
			return
		}
		s.barrier.mu.Unlock()
		r.commit, r.err = s.readCommit()
		close(r.done)
	}
}

// readCommit reads the commit key, and compares it with the newest state from
// before the read.
func (s *Store) readCommit() (*commit, error) {
	known := s.acquire()
	defer known.release()
	resp, err := s.client.rangeOf(s.ctx, &pb.RangeRequest{Key: s.keys.commit()})
	if err != nil {
		return nil, s.closedOr(err)
	}
	if len(resp.Kvs) == 0 {
		err := fmt.Errorf("%w (the prefix is empty)", ErrRestored)
		s.stop(err)
		return nil, err
	}
	if bytes.Equal(resp.Kvs[0].Value, known.raw) {
		return known.head, nil
	}
	found, err := decodeCommit(resp.Kvs[0].Value)
	if err == nil {
		err = s.compare(known.head, found)
	}
	if err != nil {
		s.stop(err)
		return nil, err
	}
	return found, nil
}

// closedOr returns ErrClosed if the store was closed, or else err.
func (s *Store) closedOr(err error) error {
	if s.ctx.Err() != nil {
		return store.ErrClosed
	}
	return err
}

// await waits until the newest state includes c. If that takes long, the watch
// may be stuck at its member, and goes on at another one.
func (s *Store) await(ctx context.Context, c *commit) error {
	if s.newest.Load().head.reached(c) {
		return nil
	}
	patience := time.NewTimer(s.opts.timing.patience)
	defer patience.Stop()
	behind := time.NewTimer(s.opts.timing.behind)
	defer behind.Stop()
	for {
		changed := *s.changed.Load()
		if s.newest.Load().head.reached(c) {
			return nil
		}
		if err := s.refusal(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-behind.C:
			s.watchAgain()
			behind.Reset(s.opts.timing.behind)
		case <-patience.C:
			return engine.Unavailable(s.behind(c))
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return store.ErrClosed
		}
	}
}

// behind returns an error that says why the newest state doesn't include c. The cause
// isn't wrapped: a damaged copy is not damaged data.
func (s *Store) behind(c *commit) error {
	st := s.acquire()
	defer st.release()
	if cause := st.copy.failure.Load(); cause != nil {
		return fmt.Errorf("the copy of etcd has failed at commit %d, and %d is needed: %v", st.head.N, c.N, *cause)
	}
	return fmt.Errorf("the copy of etcd is at commit %d, and %d is needed", st.head.N, c.N)
}

// watchAgain makes the watch go on at another member.
func (s *Store) watchAgain() {
	select {
	case s.rewatch <- struct{}{}:
	default:
	}
}
