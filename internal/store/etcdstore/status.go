package etcdstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// Status is the state of the cluster, for operators.
type Status struct {
	Commit  uint64 // number of the last commit
	Servers []ServerStatus
	Members []MemberStatus
	Alarms  []string // active alarms, such as "NOSPACE"
}

// ServerStatus is the state of a server that is registered.
type ServerStatus struct {
	Server
	Since    time.Time     // when it registered
	Elected  bool          // does background work
	Reported bool          // whether the rest is known
	Behind   uint64        // commits that its copy lacked when it last reported
	Skew     time.Duration // by which its clock was ahead of the other servers', 0 if unknown
}

// MemberStatus is the state of an etcd member.
type MemberStatus struct {
	Endpoint string
	Name     string
	Version  string
	Leader   bool
	DBSize   int64 // bytes on disk
	Quota    int64 // bytes, or 0 if unknown: etcd reports it since 3.6
	Err      error // why the member did not answer
}

// Status asks the members for the state of the cluster.
func (s *Store) Status(ctx context.Context) (*Status, error) {
	if !s.users.enter() {
		return nil, store.ErrClosed
	}
	defer s.users.leave()
	head, err := s.readHead(ctx)
	if err != nil {
		return nil, err
	}
	if head.commit == nil {
		return nil, ErrRestored
	}
	st := &Status{Commit: head.commit.N}
	if st.Servers, err = s.servers(ctx); err != nil {
		return nil, err
	}
	for i := range st.Servers {
		if n := st.Servers[i].Behind; st.Servers[i].Reported {
			st.Servers[i].Behind = st.Commit - min(n, st.Commit)
		}
	}
	st.Members, st.Alarms = s.members(ctx)
	return st, nil
}

// servers returns the registered servers, in the order in which they registered,
// so that the first is the elected one. Behind is the commit that a server has
// reported.
func (s *Store) servers(ctx context.Context) ([]ServerStatus, error) {
	from, to := s.keys.servers()
	resp, err := s.client.rangeOf(ctx, &pb.RangeRequest{Key: from, RangeEnd: to, SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_ASCEND})
	if err != nil {
		return nil, err
	}
	from, to = s.keys.reports()
	reports, err := s.client.rangeOf(ctx, &pb.RangeRequest{Key: from, RangeEnd: to})
	if err != nil {
		return nil, err
	}
	byKey := map[string]report{}
	for _, kv := range reports.Kvs {
		var r report
		if json.Unmarshal(kv.Value, &r) == nil {
			byKey[string(kv.Key)] = r
		}
	}
	var all []ServerStatus
	for i, kv := range resp.Kvs {
		var r registered
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			return nil, fmt.Errorf("registration %s: %w", kv.Key, err)
		}
		server := ServerStatus{Server: r.Server, Since: time.UnixMilli(r.Since), Elected: i == 0}
		if last, ok := byKey[string(s.keys.report(r.ID))]; ok {
			server.Reported = true
			server.Behind = last.Commit
			server.Skew = time.Duration(last.Skew) * time.Millisecond
		}
		all = append(all, server)
	}
	return all, nil
}

// members asks each endpoint for its state.
func (s *Store) members(ctx context.Context) ([]MemberStatus, []string) {
	all := make([]MemberStatus, len(s.client.members))
	var mu sync.Mutex
	names := map[uint64]string{}
	alarms := map[string]bool{}
	var wg sync.WaitGroup
	for i, m := range s.client.members {
		wg.Go(func() {
			all[i] = MemberStatus{Endpoint: m.endpoint}
			// A member that has just come back is connected again after a second at most.
			all[i].Err = translate(m.try(ctx, 2*s.opts.timing.attempt, func(ctx context.Context, m *member) error {
				resp, err := m.maintenance.Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(true))
				if err != nil {
					return err
				}
				id := resp.Header.MemberId
				all[i].Version, all[i].Leader = resp.Version, resp.Leader == id
				all[i].DBSize, all[i].Quota = resp.DbSize, resp.DbSizeQuota
				list, err := m.cluster.MemberList(ctx, &pb.MemberListRequest{})
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				for _, member := range list.Members {
					names[member.ID] = member.Name
				}
				all[i].Name = names[id]
				active, err := m.maintenance.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
				if err != nil {
					return err
				}
				for _, a := range active.Alarms {
					alarms[fmt.Sprintf("%s on %s", a.Alarm, names[a.MemberID])] = true
				}
				return nil
			}))
		})
	}
	wg.Wait()
	return all, slices.Sorted(maps.Keys(alarms))
}

// Elected reports whether this server does the background work. Another server
// may do it for a moment too, when the elected one is slow to notice that it is
// not any more, so the work must be safe without the election.
func (s *Store) Elected() bool { return s.elected.Load() }

// LastCommit returns the time of the last commit that this server knows, by the
// clock of the server that made it. It never goes back.
func (s *Store) LastCommit() time.Time { return s.newest.Load().head.time() }

// sample is etcd's revision at some time.
type sample struct {
	at       time.Time
	revision int64
}

// keepSamples is how long samples are kept.
const keepSamples = 2 * time.Hour

// samples remembers etcd's revisions.
type samples struct {
	mu  sync.Mutex
	all []sample
}

func (s *samples) add(x sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.all) > 0 && x.at.Sub(s.all[0].at) > keepSamples {
		s.all = s.all[1:]
	}
	if n := len(s.all); n == 0 || x.at.Sub(s.all[n-1].at) >= time.Second {
		s.all = append(s.all, x)
	}
}

// before returns the revision of the newest sample that is not newer than t, or
// 0.
func (s *samples) before(t time.Time) (revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.all {
		if x.at.After(t) {
			break
		}
		revision = x.revision
	}
	return revision
}

// Compact removes etcd's history from before the given time, as far as this
// server has been running since. It affects all keys of the etcd cluster.
func (s *Store) Compact(ctx context.Context, before time.Time) error {
	if !s.users.enter() {
		return store.ErrClosed
	}
	defer s.users.leave()
	revision := s.samples.before(before)
	if revision == 0 {
		return nil
	}
	err := s.client.call(ctx, func(ctx context.Context, m *member) error {
		_, err := m.kv.Compact(ctx, &pb.CompactionRequest{Revision: revision})
		return err
	})
	if errors.Is(err, errCompacted) {
		return nil
	}
	return err
}

// periodic reports this server's state and looks at the cluster's.
func (s *Store) periodic(lease int64) {
	value, err := json.Marshal(report{Commit: s.newest.Load().head.N, Skew: s.skew().Milliseconds()})
	if err != nil {
		return
	}
	var resp *pb.PutResponse
	err = s.client.call(s.ctx, func(ctx context.Context, m *member) (err error) {
		resp, err = m.kv.Put(ctx, &pb.PutRequest{Key: s.keys.report(s.opts.Server.ID), Value: value, Lease: lease})
		return err
	})
	if err == nil {
		s.samples.add(sample{time.Now(), resp.Header.Revision})
	}
	servers, err := s.servers(s.ctx)
	s.elected.Store(err == nil && len(servers) > 0 && servers[0].ID == s.opts.Server.ID)
	_ = s.askMembers(s.ctx) // an old one doesn't stop a store that is open
}

// AcceptRestored makes all servers accept what is in etcd now, after it was
// restored from a backup. It is only for an operator to call: changes that
// servers had acknowledged may be lost.
func (s *Store) AcceptRestored(ctx context.Context) error {
	if !s.users.enter() {
		return store.ErrClosed
	}
	defer s.users.leave()
	head, err := s.readHead(ctx)
	if err != nil {
		return err
	}
	if head.commit == nil {
		return errors.New("there is no store in etcd: restore one first")
	}
	next := *head.commit
	if next.Large.moving() {
		err = s.eachChunk(ctx, next.Large, head.revision, func(*writes) error { return nil })
		if errors.Is(err, errChunkMissing) {
			// Only what was moved is left of the change.
			s.stop(err)
			next.Large, err = nil, nil
		}
		if err != nil {
			return err
		}
	}
	if err := s.awaitRefusal(ctx); !errors.Is(err, ErrRestored) && !errors.Is(err, errForeign) {
		return errors.New("this server knows no other state than the one in etcd")
	}
	known := s.newest.Load().head
	next.Epoch, next.N = max(next.Epoch, known.Epoch)+1, max(next.N, known.N)+1
	next.ID, next.Prev, next.Events = rand.Text(), head.commit.ID, 0
	next.By, next.Wait, next.Time = s.registration.incarnation(), nil, max(time.Now().UnixMilli(), next.Time)
	resp, err := s.client.txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{valueIs(s.keys.commit(), head.raw)},
		Success: []*pb.RequestOp{put(s.keys.commit(), next.encode())},
	})
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return errors.New("the store has changed meanwhile: try again")
	}
	for s.refusal() != nil {
		changed := *s.changed.Load()
		select {
		case <-changed:
		case <-time.After(s.opts.timing.report / 10):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// awaitRefusal returns why the store refuses to work. A store that was just opened
// may learn it from the watch.
func (s *Store) awaitRefusal(ctx context.Context) error {
	timer := time.NewTimer(s.opts.timing.report)
	defer timer.Stop()
	for {
		changed := *s.changed.Load()
		if err := s.refusal(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
