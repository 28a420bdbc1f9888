package etcdstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A registration says that this server runs. It has a lease, and each change
// compares the lease, so that a server whose registration has ended, because it
// was paused, changes nothing before it has registered again.
//
// Nothing else may depend on the lease: it only helps to choose who does
// background work, and to refuse a second server with the same data folder.
type registration struct {
	mu      sync.Mutex
	id      string // random, new for each registration
	lease   int64
	changed chan struct{} // closed when the server registers
	lost    chan struct{} // receives a value when the registration is lost
}

// registered is the value of a registration.
type registered struct {
	Server
	Incarnation string `json:"incarnation"`
	Since       int64  `json:"since"` // Unix milliseconds
}

// report is what a server reports about itself from time to time.
type report struct {
	Commit uint64 `json:"commit"` // that its copy includes
	Skew   int64  `json:"skew"`   // milliseconds by which its clock is ahead of the others'
}

// noLease is the lease of a server that is not registered. No key has it.
const noLease = -1

func (r *registration) init() {
	r.id, r.lease = rand.Text(), noLease
	r.changed, r.lost = make(chan struct{}), make(chan struct{}, 1)
}

func (r *registration) incarnation() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id
}

func (r *registration) leaseID() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease
}

func (r *registration) set(id string, lease int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id, r.lease = id, lease
	select {
	case <-r.lost: // an earlier registration, whose end was noticed in another way
	default:
	}
	close(r.changed)
}

// lose ends the registration.
func (r *registration) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lease == noLease {
		return
	}
	r.lease, r.changed = noLease, make(chan struct{})
	select {
	case r.lost <- struct{}{}:
	default:
	}
}

// awaitRegistration waits until the server is registered.
func (s *Store) awaitRegistration() error {
	s.registration.mu.Lock()
	changed := s.registration.changed
	s.registration.mu.Unlock()
	select {
	case <-changed:
		return nil
	default:
	}
	timer := time.NewTimer(s.opts.timing.patience)
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		if s.space.refused.Load() {
			return errNoSpace
		}
		return engine.Unavailable(errors.New("the server could not register in etcd yet"))
	case <-s.ctx.Done():
		return store.ErrClosed
	}
}

// keepRegistered registers the server, and again when the registration is lost.
func (s *Store) keepRegistered() {
	defer s.unregister()
	t := s.opts.timing
	var seen rival
	for s.ctx.Err() == nil {
		lease, err := s.register(&seen)
		s.space.refused.Store(errors.Is(err, errNoSpace))
		if err != nil {
			s.log.Debug("store: not registered in etcd yet", "error", err)
			if s.sleep(t.lease/20) != nil {
				return
			}
			continue
		}
		s.log.Info("store: registered in etcd", "server", s.opts.Server.ID)
		s.keepAlive(lease)
		s.elected.Store(false)
		if s.ctx.Err() == nil {
			s.registration.lose()
		}
	}
}

// rival is what register has seen of a process with a registration of this server's
// ID, which this process has not made.
type rival struct {
	incarnation string
	since       time.Time
	report      int64 // etcd's revision of its last report
	reported    time.Time
	reports     int // since it was first seen
}

var errRegistered = errors.New("the server's ID is registered already")

// register writes the registration, unless another process has one. A process
// that has ended without unregistering neither refreshes its lease nor reports any
// more, so its registration is replaced before the lease ends.
func (s *Store) register(seen *rival) (int64, error) {
	t := s.opts.timing
	id := rand.Text()
	value, err := json.Marshal(registered{Server: s.opts.Server, Incarnation: id, Since: time.Now().UnixMilli()})
	if err != nil {
		return 0, err
	}
	var grant *pb.LeaseGrantResponse
	if err := s.client.call(s.ctx, func(ctx context.Context, m *member) (err error) {
		grant, err = m.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: int64(max(t.lease/time.Second, 1))})
		return err
	}); err != nil {
		return 0, err
	}
	key := s.keys.server(s.opts.Server.ID)
	own := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value, Lease: grant.ID}}}
	try := func(compare *pb.Compare) (*pb.TxnResponse, error) {
		return s.client.txn(s.ctx, &pb.TxnRequest{Compare: []*pb.Compare{compare}, Success: []*pb.RequestOp{own}, Failure: []*pb.RequestOp{get(key)}})
	}
	resp, err := try(&pb.Compare{Key: key, Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_CreateRevision{}})
	if err == nil && !resp.Succeeded {
		kvs := resp.Responses[0].GetResponseRange().Kvs
		switch {
		case len(kvs) == 0:
			err = errRegistered // it has just ended
		case kvs[0].Lease == grant.ID:
			// The request was sent twice.
		default:
			if err = s.outlives(kvs[0].Value, kvs[0].Lease, seen); err == nil {
				if resp, err = try(valueIs(key, kvs[0].Value)); err == nil && !resp.Succeeded {
					err = errRegistered
				}
			}
		}
	}
	if err != nil {
		s.revoke(s.ctx, grant.ID)
		return 0, err
	}
	s.registration.set(id, grant.ID)
	return grant.ID, nil
}

// outlives returns nil if the process with the given registration seems to have
// ended. It stops the store if that process has been reporting for so long that it
// must be running. The lease doesn't show that: each new leader of etcd renews all
// leases.
func (s *Store) outlives(value []byte, lease int64, seen *rival) error {
	var other registered
	_ = json.Unmarshal(value, &other)
	last, err := s.client.rangeOf(s.ctx, &pb.RangeRequest{Key: s.keys.report(s.opts.Server.ID), KeysOnly: true})
	if err != nil {
		return err
	}
	var report int64
	if len(last.Kvs) > 0 {
		report = last.Kvs[0].ModRevision
	}
	now := time.Now()
	if seen.incarnation != other.Incarnation {
		*seen = rival{incarnation: other.Incarnation, since: now, report: report, reported: now}
	} else if seen.report != report {
		seen.report, seen.reported = report, now
		seen.reports++
	}
	var left *pb.LeaseTimeToLiveResponse
	if err := s.client.call(s.ctx, func(ctx context.Context, m *member) (err error) {
		left, err = m.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: lease})
		return err
	}); err != nil {
		return err
	}
	ttl := s.opts.timing.lease
	missed := ttl * 7 / 10 // several refreshes and reports
	left.TTL++             // etcd rounds down
	if time.Duration(left.TTL)*time.Second < missed || now.Sub(seen.reported) > missed {
		return nil
	}
	if seen.reports >= 3 && now.Sub(seen.since) > ttl+ttl/2 {
		s.stop(ErrDuplicateServer)
	}
	return errRegistered
}

func (s *Store) revoke(ctx context.Context, lease int64) {
	_ = s.client.call(ctx, func(ctx context.Context, m *member) error {
		_, err := m.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: lease})
		return err
	}) // or it ends by itself
}

// unregister ends the registration when the store is closed.
func (s *Store) unregister() {
	if lease := s.registration.leaseID(); lease != noLease {
		ctx, cancel := context.WithTimeout(context.Background(), s.opts.timing.attempt)
		defer cancel()
		s.revoke(ctx, lease)
	}
}

// keepAlive refreshes the lease, and does what else is due from time to time,
// until the registration is lost.
func (s *Store) keepAlive(lease int64) {
	t := s.opts.timing
	refresh := time.NewTicker(t.lease / 8)
	defer refresh.Stop()
	reporting := time.NewTicker(t.report)
	defer reporting.Stop()
	s.periodic(lease)
	for {
		select {
		case <-refresh.C:
			ended, err := s.refresh(lease)
			if ended {
				return
			}
			if err != nil {
				s.log.Debug("store: could not refresh the lease", "error", err)
			}
		case <-reporting.C:
			s.periodic(lease)
		case <-s.registration.lost:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// refresh refreshes the lease, and reports whether it has ended.
func (s *Store) refresh(lease int64) (ended bool, err error) {
	err = s.client.call(s.ctx, func(ctx context.Context, m *member) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := m.lease.LeaseKeepAlive(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: lease}); err != nil {
			return err
		}
		resp, err := stream.Recv()
		ended = err == nil && resp.TTL <= 0
		return err
	})
	return ended, err
}
