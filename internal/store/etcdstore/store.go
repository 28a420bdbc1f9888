package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/engine"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Store is a store.Store in an etcd cluster. It is safe for concurrent use.
type Store struct {
	opts   Options
	keys   keys
	log    *slog.Logger
	client *client

	// ctx ends when the store is closed, and with it all background work.
	ctx    context.Context
	cancel context.CancelFunc
	loops  sync.WaitGroup

	closing chan struct{} // closed when Close is called
	users   users
	queue   *group.Queue
	reads   sync.Pool // of *engine.Reader

	barrier      barrier
	registration registration
	committing   sync.WaitGroup // the committer
	rewatch      chan struct{}  // receives a value when the watch seems stuck

	// applying is held to replace the newest state.
	applying sync.Mutex
	newest   atomic.Pointer[state]
	changed  atomic.Pointer[chan struct{}] // closed when the newest state is replaced
	history  history
	wants    map[string]bool // servers that want a turn; guarded by applying

	// stopped is why the store refuses to work, or nil.
	stopped atomic.Pointer[error]

	samples  samples
	space    space
	follower atomic.Pointer[Follower]
	elected  atomic.Bool
}

var _ store.Store = (*Store)(nil)

// Open opens the store. If there is nothing under the prefix, it creates the store
// unless Options.Existing is set.
func Open(ctx context.Context, opts Options) (_ *Store, err error) {
	opts, err = opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, keys: keys{opts.Prefix}, log: opts.Logger,
		queue:   group.NewQueue(),
		closing: make(chan struct{}),
		rewatch: make(chan struct{}, 1),
		wants:   map[string]bool{},
	}
	s.registration.init()
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.reads.New = func() any { return new(engine.Reader) }
	changed := make(chan struct{})
	s.changed.Store(&changed)
	if s.client, err = newClient(opts); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.cancel()
		if st := s.newest.Load(); st != nil {
			st.copy.release()
			st.release()
		}
		return nil, errors.Join(err, s.client.close())
	}
	s.loops.Go(s.watch)
	s.loops.Go(s.keepRegistered)
	s.committing.Go(newCommitter(s).run)
	return s, nil
}

// start brings the copy to a state from which the watch can go on.
func (s *Store) start(ctx context.Context) error {
	if err := s.askMembers(ctx); err != nil {
		return err
	}
	c, at := openCopy(s.opts, s.giveUp)
	head, err := s.readHead(ctx)
	if err == nil && head.commit == nil {
		switch {
		case c != nil && at.Prefix != s.keys.prefix:
			err = ErrOtherStore
		case c != nil:
			err = fmt.Errorf("%w: the prefix is empty (to create a new store, use a new data folder)", ErrRestored)
		case s.opts.Existing:
			err = ErrNoStore
		default:
			if err = s.create(ctx); err == nil {
				head, err = s.readHead(ctx)
			}
		}
	}
	if err == nil && head.commit == nil {
		err = ErrNotAStore
	}
	if err != nil {
		if c != nil {
			c.release()
		}
		return err
	}
	if c != nil {
		if err := s.adopt(c, at, head); err == nil || !errors.Is(err, errUnusable) {
			return err
		}
		c.discard()
	}
	return s.load(ctx)
}

var errUnusable = errors.New("the copy can't be used")

// adopt publishes a copy that an earlier process has left behind.
func (s *Store) adopt(c *localCopy, at *position, head *head) error {
	own, err := decodeCommit(at.Commit)
	if err != nil {
		return errUnusable
	}
	if own.Store != head.commit.Store {
		c.release()
		return ErrOtherStore
	}
	if own.Epoch != head.commit.Epoch || at.Prefix != s.keys.prefix {
		return errUnusable
	}
	s.publish(newState(c, own, at.Commit, at.Revision, group.FirstRevisions()))
	if err := s.compare(own, head.commit); err != nil {
		s.stop(err)
	}
	return nil
}

// Exclusive implements store.Store: other servers change the store too.
func (s *Store) Exclusive() bool { return false }

// Revision implements store.Store: only a View can tell.
func (s *Store) Revision(...byte) uint64 { return 0 }

// View implements store.Store. If ctx has a store.Barrier that was passed, it
// does not wait for etcd.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.users.enter() {
		return store.ErrClosed
	}
	defer s.users.leave()
	b := store.BarrierOf(ctx)
	if b == nil || !b.Passed() {
		if _, err := s.confirm(ctx); err != nil {
			return err
		}
		if b != nil {
			b.Pass()
		}
	} else if err := s.refusal(); err != nil {
		return err
	}
	st := s.acquire()
	defer st.release()
	r := s.reads.Get().(*engine.Reader)
	r.Begin(st.snap, st.revs)
	defer func() {
		r.End()
		s.reads.Put(r)
	}()
	err := fn(r)
	if err != nil {
		s.checkRead(st, err)
	}
	return err
}

// Update implements store.Store. fn runs on one of the store's goroutines while
// other changes wait, so it should be quick, and must not call Update. If fn
// panics or ends its goroutine, so does Update.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.queue.Update(ctx, fn)
}

// Close implements store.Store.
func (s *Store) Close() error {
	if !s.queue.Close() {
		return store.ErrClosed
	}
	close(s.closing)
	s.users.close()
	s.committing.Wait()
	s.cancel()
	s.loops.Wait()
	st := s.newest.Load()
	st.copy.release()
	st.release()
	return s.client.close()
}

// acquire returns the newest state with a reference to it.
func (s *Store) acquire() *state {
	for {
		// A state that has just ended has a successor.
		if st := s.newest.Load(); st.acquire() {
			return st
		}
	}
}

// publish makes st the newest state. applying must be held, or nothing else be
// running yet.
func (s *Store) publish(st *state) {
	s.history.add(st.head)
	old := s.newest.Swap(st)
	s.broadcast()
	if old != nil {
		if old.copy != st.copy {
			old.copy.discard()
		}
		old.release()
	}
}

// broadcast wakes everybody who waits for a newer state.
func (s *Store) broadcast() {
	next := make(chan struct{})
	close(*s.changed.Swap(&next))
}

// checkRead gives the copy up if err shows that it is damaged.
func (s *Store) checkRead(st *state, err error) {
	var damaged *store.CorruptError
	if errors.As(err, &damaged) {
		s.giveUp(st.copy, err)
	}
}

// giveUp makes the watch load the copy again.
func (s *Store) giveUp(c *localCopy, cause error) {
	if c.failure.CompareAndSwap(nil, &cause) {
		s.log.Error("store: the copy has failed and will be loaded again", "error", cause.Error())
	}
	s.watchAgain()
}

// stop makes the store refuse all work until an operator acts.
func (s *Store) stop(err error) {
	err = engine.Unavailable(err)
	if s.stopped.CompareAndSwap(nil, &err) {
		s.log.Error("store: refusing all work", "error", err)
		s.watchAgain()
		s.broadcast()
	}
}

// refusal returns why the store refuses to work, or nil.
func (s *Store) refusal() error {
	if p := s.stopped.Load(); p != nil {
		return *p
	}
	return nil
}

// head is what a read of the head found.
type head struct {
	commit   *commit // nil if there is none
	raw      []byte
	revision int64 // of etcd when it was read
	wants    map[string]bool
}

// readHead reads the commit key, and who wants a turn.
func (s *Store) readHead(ctx context.Context) (*head, error) { return s.readHeadFrom(ctx, s.client) }

func (s *Store) readHeadFrom(ctx context.Context, c *client) (*head, error) {
	from, to := s.keys.head()
	resp, err := c.rangeOf(ctx, &pb.RangeRequest{Key: from, RangeEnd: to})
	if err != nil {
		return nil, err
	}
	h := &head{revision: resp.Header.Revision, wants: map[string]bool{}}
	for _, kv := range resp.Kvs {
		if isCommit, want, _ := s.keys.split(kv.Key); isCommit {
			h.raw = kv.Value
			if h.commit, err = decodeCommit(kv.Value); err != nil {
				return nil, err
			}
		} else if want != "" {
			h.wants[want] = true
		}
	}
	return h, nil
}

// compare returns ErrRestored if found, which was read after known, shows that etcd has
// lost known, or ErrOtherStore if etcd has another store now.
func (s *Store) compare(known, found *commit) error {
	if found.Store != known.Store {
		return engine.Unavailable(ErrOtherStore)
	}
	if found.Epoch > known.Epoch {
		return nil // an operator has accepted it
	}
	if !found.reached(known) || found.N == known.N && found.ID != known.ID {
		return ErrRestored
	}
	return nil
}

// create writes the first commit, unless there is something under the prefix.
func (s *Store) create(ctx context.Context) error {
	first := &commit{Format: format, Store: rand.Text(), N: 1, ID: rand.Text(), By: s.opts.Server.ID, Time: time.Now().UnixMilli()}
	from, to := s.keys.all()
	resp, err := s.client.txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: from, RangeEnd: to,
			Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 0},
		}},
		Success: []*pb.RequestOp{put(s.keys.commit(), first.encode())},
	})
	if err != nil {
		return err
	}
	if resp.Succeeded {
		s.log.Info("store: created in etcd", "prefix", s.opts.Prefix)
	}
	return nil // or another server was faster
}

func (st *state) reader() *engine.Reader {
	r := new(engine.Reader)
	r.Begin(st.snap, st.revs)
	return r
}

// history remembers the IDs of the newest commits.
type history struct {
	mu  sync.Mutex
	ids [1024]struct {
		n  uint64
		id string
	}
}

func (h *history) add(c *commit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &h.ids[c.N%uint64(len(h.ids))]
	e.n, e.id = c.N, c.ID
}

// id returns the ID of commit n, or "" if it is not known.
func (h *history) id(n uint64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := &h.ids[n%uint64(len(h.ids))]; e.n == n {
		return e.id
	}
	return ""
}

// users counts the Views that run.
type users struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when there are none left
}

// enter returns false if the store is closed.
func (u *users) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.n++
	return true
}

func (u *users) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.closed {
		close(u.idle)
	}
}

// close lets nobody in any more and waits until all have left.
func (u *users) close() {
	u.mu.Lock()
	u.closed = true
	u.idle = make(chan struct{})
	if u.n == 0 {
		close(u.idle)
	}
	u.mu.Unlock()
	<-u.idle
}
