package etcdstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fluxkeep/fluxkeep/internal/store"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// shares are the shares of etcd's quota that changes may use, by their reserve. No change
// may use all of it: etcd then raises an alarm, and takes no change at all until an
// operator has disarmed it, even after it was compacted.
var shares = [...]float64{store.NoReserve: 0.9, store.RemovalReserve: 0.95, store.LastReserve: 0.98}

// space is the use of etcd's quota, as far as known.
type space struct {
	quota atomic.Int64 // bytes, or 0 if there is none or it is unknown
	size  atomic.Int64 // of the database, when it was last measured
	// used is the part of it that was in use then, and what was written since: it grows
	// only when that no longer fits.
	used atomic.Int64
	// refused says that etcd itself has refused something for lack of space.
	refused atomic.Bool
}

// allows returns an error if a change of n bytes, which may use a reserve, would use more
// than its share.
func (s *space) allows(r store.Reserve, n int) error {
	if quota := s.quota.Load(); quota > 0 && float64(max(s.size.Load(), s.used.Load())+int64(n)) > shares[r]*float64(quota) {
		return errNoSpace
	}
	return nil
}

// wrote adds what etcd has written since the space was measured.
func (s *space) wrote(events []*mvccpb.Event) { s.used.Add(int64(eventBytes(events))) }

// askMembers asks all members how much of the quota is used: each has a database of its own,
// and refuses what is too much for it. Some may have no quota, or not report it.
//
// It returns ErrOldEtcd if one of them has bugs that break the store: before 3.5.28 and
// 3.6.9, a member that was paused could answer a linearizable read with an old state, and
// older ones can lose watch events.
func (s *Store) askMembers(ctx context.Context) (old error) {
	var mu sync.Mutex
	before := s.space.used.Load()
	var size, used, quota int64
	answered := false
	var asked sync.WaitGroup
	for _, m := range s.client.members {
		asked.Go(func() {
			_ = m.try(ctx, s.opts.timing.attempt, func(ctx context.Context, m *member) error {
				resp, err := m.maintenance.Status(ctx, &pb.StatusRequest{})
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				if !recent(resp.Version) {
					old = fmt.Errorf("%w (%s has %s)", ErrOldEtcd, m.endpoint, resp.Version)
				}
				answered = true
				if resp.DbSizeQuota > 0 && (quota == 0 || resp.DbSizeQuota-resp.DbSize < quota-size) {
					size, used, quota = resp.DbSize, resp.DbSizeInUse, resp.DbSizeQuota
				}
				return nil
			})
		})
	}
	asked.Wait()
	if answered {
		s.space.quota.Store(quota)
		s.space.size.Store(size)
		s.space.used.Add(used - before) // and what was written meanwhile
	}
	return old
}
