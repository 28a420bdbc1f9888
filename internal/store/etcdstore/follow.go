package etcdstore

import (
	"context"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A Follower is told what happens to the store. Its functions must not block.
type Follower struct {
	// Now returns the time for a commit of this server.
	Now func() time.Time
	// Made is called with the time of each commit that another server has just
	// made, before a View shows it.
	Made func(time.Time)
	// Changed is called with each key that another server has changed, once Views
	// show it, and with nil when any key may have changed.
	Changed func(key []byte)
	// Skew returns by how much this server's clock is ahead of the other servers',
	// if that is known.
	Skew func() (ahead time.Duration, known bool)
}

// Follow tells f what happens from now on. It is called at most once.
func (s *Store) Follow(f Follower) { s.follower.Store(&f) }

// now returns the time for a commit of this server.
func (s *Store) now() time.Time {
	if f := s.follower.Load(); f != nil {
		return f.Now()
	}
	return time.Now()
}

// skew returns by how much this server's clock is ahead of the other servers'.
func (s *Store) skew() time.Duration {
	if f := s.follower.Load(); f != nil {
		ahead, _ := f.Skew()
		return ahead
	}
	return 0
}

// tellMade tells the follower about a commit that Views don't show yet.
func (s *Store) tellMade(c *commit) {
	if f := s.follower.Load(); f != nil && c.By != s.registration.incarnation() {
		f.Made(c.time())
	}
}

// tellChanged tells the follower about the records of a commit that Views show, or
// that anything may have changed if all is true.
func (s *Store) tellChanged(records []*mvccpb.Event, all bool) {
	f := s.follower.Load()
	if f == nil {
		return
	}
	if all {
		f.Changed(nil)
		return
	}
	for _, e := range records {
		if _, _, key := s.keys.split(e.Kv.Key); len(key) > 0 {
			f.Changed(key)
		}
	}
}

// Check returns an error if a View would fail now.
func (s *Store) Check(ctx context.Context) error {
	if !s.users.enter() {
		return store.ErrClosed
	}
	defer s.users.leave()
	_, err := s.confirm(ctx)
	return err
}

// Running returns the IDs of the servers that are registered.
func (s *Store) Running(ctx context.Context) (ids []string, err error) {
	servers, err := s.servers(ctx)
	for _, server := range servers {
		ids = append(ids, server.ID)
	}
	return ids, err
}
