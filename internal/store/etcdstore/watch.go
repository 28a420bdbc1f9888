package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errReload means that the copy can't follow the commits and must be loaded.
var errReload = errors.New("the copy must be loaded again")

// errForeign means that something other than Fluxkeep writes under the prefix.
var errForeign = fmt.Errorf("%w: something other than Fluxkeep has changed keys under the etcd prefix: check it, then run `fluxkeep cluster accept-restored`", store.ErrUnavailable)

// watch keeps the copy up to date.
func (s *Store) watch() {
	for i := s.client.preferred.Load(); s.ctx.Err() == nil; i++ {
		if s.refusal() != nil {
			s.awaitAcceptance()
			continue
		}
		err := s.watchAt(s.client.members[int(i)%len(s.client.members)])
		if s.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errReload) {
			s.log.Warn("store: loading the copy again", "reason", err)
			err = s.loadAgain()
		}
		if fatal(err) {
			s.stop(err)
			continue
		}
		if err != nil {
			s.log.Debug("store: the watch has ended", "error", err)
		}
		_ = s.sleep(s.opts.timing.attempt / 20)
	}
}

// loadAgain loads the copy, and retries until that succeeds or only an operator
// can help.
func (s *Store) loadAgain() error {
	for tries := 1; ; tries++ {
		err := s.load(s.ctx)
		if err == nil || fatal(err) || s.ctx.Err() != nil {
			return err
		}
		if tries == 1 {
			s.log.Warn("store: could not load the copy, retrying", "error", err.Error())
		}
		_ = s.sleep(s.opts.timing.attempt)
	}
}

// fatal reports whether only an operator can deal with err.
func fatal(err error) bool {
	return slices.ContainsFunc([]error{ErrRestored, ErrOtherStore, errForeign, ErrNewerFormat, ErrNotAStore}, func(e error) bool { return errors.Is(err, e) })
}

// awaitAcceptance waits until an operator has accepted the state of etcd, and
// loads it.
func (s *Store) awaitAcceptance() {
	for s.sleep(s.opts.timing.report/3) == nil {
		h, err := s.readHead(s.ctx)
		if err != nil || h.commit == nil || h.commit.Epoch <= s.newest.Load().head.Epoch {
			continue
		}
		if err := s.load(s.ctx); err != nil {
			continue
		}
		s.stopped.Store(nil)
		s.log.Info("store: an operator has accepted the restored state")
		return
	}
}

// sleep waits for d. It returns an error if the store was closed.
func (s *Store) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// watchAt applies what m reports, until that fails or the watch is to go on at
// another member.
func (s *Store) watchAt(m *member) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	select {
	case <-s.rewatch: // meant for an earlier watch
	default:
	}
	from, err := s.resume(m)
	if err != nil {
		return err
	}
	ctx, used, err := m.outgoing(ctx)
	if err != nil {
		return translate(err)
	}
	stream, err := m.watch.Watch(ctx)
	if err != nil {
		return translate(err)
	}
	go func() {
		select {
		case <-s.rewatch:
			cancel()
		case <-ctx.Done():
		}
	}()
	key, end := s.keys.watched()
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: key, RangeEnd: end, StartRevision: from, Fragment: true},
	}}); err != nil {
		return translate(err)
	}
	var events []*mvccpb.Event // that are not applied yet
	for {
		resp, err := stream.Recv()
		switch {
		case status.Code(err) == codes.ResourceExhausted:
			// Asking again would bring the same response.
			return fmt.Errorf("%w: %s: lower etcd's --max-request-bytes", errReload, status.Convert(err).Message())
		case err != nil:
			m.expired(used, err)
			return translate(err)
		case resp.CompactRevision > 0:
			return fmt.Errorf("%w: its next commits were compacted", errReload)
		case resp.Canceled:
			return engine.Unavailable(fmt.Errorf("etcd: watch canceled: %s", resp.CancelReason))
		}
		events = append(events, resp.Events...)
		for len(events) > 0 {
			n := 1
			for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
				n++
			}
			if n == len(events) && resp.Fragment {
				break // the rest of the revision may be in the next fragment
			}
			if err := s.apply(ctx, events[:n]); err != nil {
				return err
			}
			events = events[n:]
		}
		if size := eventBytes(events); size > maxReply {
			return fmt.Errorf("%w: etcd reported %d bytes of events in one revision", errReload, size)
		}
	}
}

// keyOverhead is what etcd reckons with for a key, besides its own and its value's bytes.
const keyOverhead = 256

// eventBytes returns about how many bytes events take, here and in etcd.
func eventBytes(events []*mvccpb.Event) (n int) {
	for _, e := range events {
		n += len(e.Kv.Key) + len(e.Kv.Value) + keyOverhead
	}
	return n
}

// resume returns the revision from which the copy needs the events. The member
// answers for itself, so it is one that works.
func (s *Store) resume(m *member) (int64, error) {
	st := s.acquire()
	defer st.release()
	if st.copy.failure.Load() != nil {
		return 0, errReload
	}
	one := &client{timing: s.client.timing, members: []*member{m}}
	one.timing.patience = one.timing.attempt
	h, err := s.readHeadFrom(s.ctx, one)
	if err != nil {
		return 0, err
	}
	if h.commit == nil {
		return 0, ErrRestored
	}
	if err := s.compare(st.head, h.commit); err != nil {
		return 0, err
	}
	if h.commit.Epoch > st.head.Epoch {
		return 0, errReload
	}
	s.applying.Lock()
	s.wants = h.wants
	s.applying.Unlock()
	if h.commit.ID == st.head.ID {
		// No commit was missed, so the copy survives compaction. Other programs
		// may have written meanwhile, which the events show if they are still there.
		_, err := one.rangeOf(s.ctx, &pb.RangeRequest{Key: s.keys.commit(), Revision: st.revision, CountOnly: true})
		if errors.Is(err, errCompacted) {
			return h.revision + 1, s.verify(one, st, h.revision)
		}
		if err != nil {
			return 0, err
		}
	}
	return st.revision + 1, nil
}

// verify returns errForeign if etcd's records at the given revision are not those of st,
// which has the newest commit.
func (s *Store) verify(at *client, st *state, revision int64) error {
	if st.head.Large.moving() {
		return nil // the copy has what is not in the records yet
	}
	from, to := s.keys.records(nil, nil)
	r := st.reader()
	defer r.End()
	for p := newPages(from, to); !p.done(); {
		req := p.request(revision)
		req.Limit, req.KeysOnly, req.MinModRevision = 1, true, st.revision+1
		resp, err := at.rangeOf(s.ctx, req)
		if err != nil {
			return err
		}
		have := int64(0)
		var end []byte
		if !bytes.Equal(req.RangeEnd, to) {
			end = req.RangeEnd[p.prefix:]
		}
		if err := r.Scan(req.Key[p.prefix:], end, func(_, _ []byte) (bool, error) { have++; return true, nil }); err != nil {
			return err
		}
		if len(resp.Kvs) > 0 || resp.Count != have {
			return errForeign
		}
		p.got(resp)
	}
	return nil
}

// apply applies the events of one revision.
func (s *Store) apply(ctx context.Context, events []*mvccpb.Event) error {
	s.space.wrote(events)
	s.applying.Lock()
	defer s.applying.Unlock()
	var raw []byte
	records := events[:0:0]
	for _, e := range events {
		isCommit, want, record := s.keys.split(e.Kv.Key)
		switch {
		case isCommit && e.Type == mvccpb.Event_DELETE:
			return ErrRestored
		case isCommit:
			raw = e.Kv.Value
		case want != "" && e.Type == mvccpb.Event_DELETE:
			delete(s.wants, want)
		case want != "":
			s.wants[want] = true
		case record != nil:
			records = append(records, e)
		}
	}
	if raw == nil {
		if len(records) > 0 {
			return errForeign
		}
		return nil
	}
	next, err := decodeCommit(raw)
	if err != nil {
		return err
	}
	cur := s.newest.Load()
	switch {
	case next.Epoch < cur.head.Epoch:
		return nil
	case next.Epoch > cur.head.Epoch:
		return fmt.Errorf("%w: an operator has accepted a restored state", errReload)
	case next.N <= cur.head.N:
		// Usually a commit of this server, which it has published already.
		if id := s.history.id(next.N); id != "" && id != next.ID {
			return ErrRestored
		}
		return nil
	case next.N == cur.head.N+1 && next.Prev != cur.head.ID:
		return ErrRestored
	case next.N > cur.head.N+1:
		return fmt.Errorf("%w: etcd did not report commit %d", errReload, cur.head.N+1)
	}
	return s.follow(ctx, cur, next, raw, events[0].Kv.ModRevision, records)
}

// follow publishes the state of commit next, which follows cur. applying must be
// held.
func (s *Store) follow(ctx context.Context, cur *state, next *commit, raw []byte, revision int64, records []*mvccpb.Event) error {
	batch := cur.copy.db.NewBatch()
	defer batch.Close()
	changed := group.TableSet{}
	switch {
	case cur.head.movesTo(next) && !s.opts.omit.chunks:
		// The copy has had these records since the change was committed.
	case len(records) != next.Events && !s.opts.omit.chunks && !s.opts.omit.compare:
		return fmt.Errorf("%w: etcd reported %d of %d events of commit %d", errReload, len(records), next.Events, next.N)
	default:
		for _, e := range records {
			_, _, key := s.keys.split(e.Kv.Key)
			if len(key) == 0 {
				return errForeign
			}
			changed.Add(key[0])
			var err error
			if e.Type == mvccpb.Event_DELETE {
				err = batch.Delete(key, nil)
			} else {
				err = batch.Set(key, e.Kv.Value, nil)
			}
			if err != nil {
				return err
			}
		}
	}
	if !cur.head.Large.moving() && next.Large.moving() && !s.opts.omit.chunks {
		err := s.eachChunk(ctx, next.Large, revision, func(w *writes) error {
			w.tables(&changed)
			return w.fill(batch, cur.copy.db)
		})
		if errors.Is(err, errCompacted) {
			return fmt.Errorf("%w: %w", errReload, err)
		}
		if err != nil {
			return err
		}
	}
	if err := cur.copy.write(batch, s.keys.prefix, revision, raw); err != nil {
		return fmt.Errorf("%w: %w", errReload, err)
	}
	s.tellMade(next)
	s.publish(newState(cur.copy, next, raw, revision, cur.revs.Next(&changed)))
	s.tellChanged(records, next.Large != nil || cur.head.Large != nil)
	return nil
}

// publishOwn publishes the state of commit next, which this server has made on
// top of base with the writes of g.
func (s *Store) publishOwn(base *state, next *commit, raw []byte, revision int64, g *group.Group) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.newest.Load() != base {
		return nil // the watch was faster
	}
	batch := base.copy.db.NewBatch()
	defer batch.Close()
	var changed group.TableSet
	if g != nil {
		if err := engine.Fill(batch, g, base.snap); err != nil {
			return err
		}
		changed = g.Changed
	}
	if err := base.copy.write(batch, s.keys.prefix, revision, raw); err != nil {
		return err
	}
	s.publish(newState(base.copy, next, raw, revision, base.revs.Next(&changed)))
	return nil
}
