//go:build unix

package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// pair opens two stores on one prefix, with proxies of their own.
func pair(t *testing.T, c *etcdtest.Cluster, change func(*Options)) (a, b *Store, proxies etcdtest.Proxies) {
	t.Helper()
	prefix := newPrefix()
	open := func(name string, p etcdtest.Proxies) *Store {
		o := options(t, c, prefix, name)
		o.Endpoints = p.Endpoints()
		if change != nil {
			change(&o)
		}
		return mustOpen(t, o)
	}
	proxies = c.Proxies(t)
	return open("a", proxies), open("b", c.Proxies(t)), proxies
}

func appendTo(s store.Store, key, more string) error {
	return s.Update(context.Background(), func(tx store.Tx) error {
		v, err := tx.Get([]byte(key))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.Set([]byte(key), append(bytes.Clone(v), more...))
	})
}

func valueOf(t *testing.T, s store.Store, key string) string {
	t.Helper()
	var value string
	storetest.MustView(t, s, func(r store.Reader) error {
		v, err := r.Get([]byte(key))
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		value = string(v)
		return err
	})
	return value
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for something that happens soon, or never.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestLostReply loses the reply to a change, on top of which another server makes
// one before the request is sent again: the change must be made once, which needs
// a look at who made it.
func TestLostReply(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for omit, want := range map[bool]string{false: "123", true: "1232"} {
		t.Run(fmt.Sprintf("omit=%t", omit), func(t *testing.T) {
			a, b, proxies := pair(t, c, func(o *Options) { o.timing.attempt, o.omit.doubt = time.Second, omit })
			must(t, appendTo(a, "k", "1"))
			proxies[0].LoseReplies()
			done := make(chan error, 1)
			go func() { done <- appendTo(a, "k", "2") }()
			eventually(t, "the change arrives", func() bool { return valueOf(t, b, "k") == "12" })
			must(t, appendTo(b, "k", "3"))
			proxies[0].Mend()
			must(t, <-done)
			if got := valueOf(t, b, "k"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestFasterServer makes a change on top of a state that another server has just
// changed: it must not overwrite that server's change, which needs the comparison
// of the commit key.
func TestFasterServer(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for omit, want := range map[bool]string{false: "123", true: "13"} {
		t.Run(fmt.Sprintf("omit=%t", omit), func(t *testing.T) {
			a, b, _ := pair(t, c, func(o *Options) { o.omit.compare = omit })
			must(t, appendTo(a, "k", "1"))
			runs := 0
			err := a.Update(t.Context(), func(tx store.Tx) error {
				v, err := tx.Get([]byte("k"))
				if err != nil {
					return err
				}
				if runs++; runs == 1 {
					if err := appendTo(b, "k", "2"); err != nil {
						return err
					}
				}
				return tx.Set([]byte("k"), append(bytes.Clone(v), '3'))
			})
			if err != nil && !omit { // without it, the stores see a chain that is broken
				t.Fatal(err)
			}
			values, err := c.Read(string(a.keys.record([]byte("k"))))
			must(t, err)
			for _, got := range values {
				if string(got) != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			if len(values) != 1 {
				t.Errorf("%d values", len(values))
			}
		})
	}
}

// TestHeldRequest delivers a change to etcd after its caller was told that it may
// have failed, and another server has made one.
func TestHeldRequest(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, b, proxies := pair(t, c, func(o *Options) {
		if o.Server.ID == "a" {
			o.timing.attempt, o.timing.patience = 300*time.Millisecond, 4*time.Second
		}
	})
	eventually(t, "a change", func() bool { return appendTo(a, "k", "1") == nil })
	before := valueOf(t, b, "k")
	proxies[0].HoldRequests()
	if err := appendTo(a, "k", "never"); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a change that is held: %v", err)
	}
	eventually(t, "a change by the other", func() bool { return appendTo(b, "k", "2") == nil })
	proxies[0].Mend()
	eventually(t, "a change", func() bool { return appendTo(a, "k", "3") == nil })
	got := valueOf(t, b, "k")
	if strings.Contains(got, "never") || !strings.HasPrefix(got, before+"2") {
		t.Errorf("got %q", got)
	}
}

// TestReadSentTooEarly asks for the last commit while the answer to an earlier
// caller's read is on its way, and another server has made a change since.
func TestReadSentTooEarly(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for _, omit := range []bool{false, true} {
		t.Run(fmt.Sprintf("omit=%t", omit), func(t *testing.T) {
			var armed atomic.Bool
			answered, pass := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(pass) })
			hold := func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				err := invoke(ctx, method, req, reply, conn, opts...)
				r, ok := req.(*pb.RangeRequest)
				// The watch reads a range that begins with the key, and counts it.
				read := ok && bytes.HasSuffix(r.Key, []byte("/c")) && r.RangeEnd == nil && !r.CountOnly
				if err == nil && read && armed.CompareAndSwap(true, false) {
					close(answered)
					<-pass
				}
				return err
			}
			a, b, _ := pair(t, c, func(o *Options) {
				o.omit.next = omit
				o.dial = []grpc.DialOption{grpc.WithChainUnaryInterceptor(hold)}
			})
			must(t, appendTo(a, "k", "1"))
			defer release()
			armed.Store(true)
			first := a.barrier.join(a.readCommits, a.opts.omit)
			<-answered
			must(t, appendTo(b, "k", "2"))
			second := a.barrier.join(a.readCommits, a.opts.omit)
			release()
			<-first.done
			<-second.done
			must(t, errors.Join(first.err, second.err))
			if stale := second.commit.N < b.newest.Load().head.N; stale != omit {
				t.Errorf("the second caller sees an old state: %t", stale)
			}
		})
	}
}

// TestErrorFromStaleCopy calls Update with a function that fails because of a
// state that another server has changed.
func TestErrorFromStaleCopy(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	taken := errors.New("taken")
	for _, omit := range []bool{false, true} {
		t.Run(fmt.Sprintf("omit=%t", omit), func(t *testing.T) {
			a, b, _ := pair(t, c, func(o *Options) { o.omit.empty = omit })
			must(t, appendTo(a, "name", "x"))
			valueOf(t, b, "name")
			a.applying.Lock() // the copy stays as it is
			must(t, b.Update(t.Context(), func(tx store.Tx) error { return tx.Delete([]byte("name")) }))
			ran := make(chan bool, 100)
			done := make(chan error, 1)
			go func() {
				done <- a.Update(context.Background(), func(tx store.Tx) error {
					ran <- true
					if _, err := tx.Get([]byte("name")); err == nil {
						return taken
					}
					return nil
				})
			}()
			// The turns are up to the committer, and need the lock too.
			select {
			case <-ran:
			case <-time.After(time.Minute):
			}
			if omit {
				if err := <-done; !errors.Is(err, taken) {
					t.Errorf("got %v", err)
				}
				a.applying.Unlock()
				return
			}
			a.applying.Unlock()
			if err := <-done; err != nil {
				t.Errorf("got %v for a name that was free", err)
			}
		})
	}
}

// TestStoppedMember pauses the member that a server uses for its watch.
func TestStoppedMember(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Members: 3})
	prefix := newPrefix()
	open := func(name string, first int) *Store {
		o := options(t, c, prefix, name)
		o.Endpoints = append(o.Endpoints[first:], o.Endpoints[:first]...)
		o.timing.attempt, o.timing.behind = time.Second, time.Second
		return mustOpen(t, o)
	}
	a, b := open("a", 0), open("b", 1)
	must(t, appendTo(a, "k", "1"))
	c.Members[0].Pause()
	defer c.Members[0].Resume()
	eventually(t, "a change", func() bool { return appendTo(b, "k", "2") == nil })
	if got, want := valueOf(t, a, "k"), valueOf(t, b, "k"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDeadTurn gives the turn to a server that has died.
func TestDeadTurn(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, b, _ := pair(t, c, nil)
	must(t, appendTo(a, "k", "1"))
	for done := false; !done; {
		st := a.acquire()
		co := newCommitter(a)
		next := co.successor(st)
		next.Wait = []string{"dead"}
		raw := next.encode()
		var err error
		done, _, err = a.transact(st, next, raw, []*pb.RequestOp{put(a.keys.commit(), raw)})
		must(t, err)
		st.release()
	}
	must(t, appendTo(b, "k", "2"))
	must(t, appendTo(a, "k", "3"))
	if got := valueOf(t, b, "k"); got != "123" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the dead server leaves the round", func() bool {
		must(t, appendTo(b, "other", "1"))
		return !slices.Contains(b.newest.Load().head.Wait, "dead")
	})
}

// TestSkipped lets a server wait that was dropped from the round, while another
// one makes changes all the time: it must get a turn.
func TestSkipped(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, b, _ := pair(t, c, nil)
	must(t, appendTo(a, "k", "1"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if err := appendTo(b, "other", ""); err != nil {
					t.Errorf("change: %v", err)
				}
			}
		}
	}()
	// What a's committer would be like.
	co := newCommitter(a)
	co.asked, co.lost, co.took = 1, true, time.Hour
	must(t, co.awaitTurn())
	if co.asked == 1 {
		t.Error("the server has not asked again")
	}
	close(stop)
	<-stopped
}

// TestRestored puts an older state of etcd back, in which another server goes on
// until the state looks newer than the lost one.
func TestRestored(t *testing.T) {
	t.Parallel()
	for _, overtaken := range []bool{false, true} {
		t.Run(fmt.Sprintf("overtaken=%t", overtaken), func(t *testing.T) {
			c := etcdtest.Start(t, etcdtest.Options{})
			m := c.Members[0]
			oa := options(t, c, newPrefix(), "a")
			proxies := c.Proxies(t)
			oa.Endpoints = proxies.Endpoints()
			oa.timing.attempt, oa.timing.patience = time.Second, 20*time.Second
			a := mustOpen(t, oa)
			must(t, appendTo(a, "k", "1"))
			m.Kill()
			saved := filepath.Join(t.TempDir(), "saved")
			must(t, os.CopyFS(saved, os.DirFS(m.Dir())))
			m.Restart()
			eventually(t, "changes again", func() bool { return appendTo(a, "k", "2") == nil })
			must(t, appendTo(a, "lost", "x"))
			proxies[0].Cut()
			m.Kill()
			must(t, os.RemoveAll(m.Dir()))
			must(t, os.CopyFS(m.Dir(), os.DirFS(saved)))
			m.Restart()
			ob := options(t, c, oa.Prefix, "b")
			var b *Store
			if overtaken {
				b = mustOpen(t, ob)
				for range 10 {
					must(t, appendTo(b, "new", "y"))
				}
			}
			proxies[0].Mend()
			var err error
			eventually(t, "the store stops", func() bool {
				err = a.View(t.Context(), func(r store.Reader) error { return nil })
				return errors.Is(err, ErrRestored)
			})
			if err := appendTo(a, "k", "never"); !errors.Is(err, ErrRestored) || !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a change: %v", err)
			}
			// A restart does not help.
			must(t, a.Close())
			a = mustOpen(t, oa)
			if err := a.View(t.Context(), func(store.Reader) error { return nil }); !errors.Is(err, ErrRestored) && !overtaken {
				t.Errorf("a View after a restart: %v", err)
			}
			eventually(t, "the store stops again", func() bool { return errors.Is(a.refusal(), ErrRestored) })
			must(t, a.AcceptRestored(t.Context()))
			if got := valueOf(t, a, "lost"); got != "" {
				t.Errorf("a lost record is still there: %q", got)
			}
			must(t, appendTo(a, "k", "3"))
			if b == nil {
				b = mustOpen(t, ob)
			}
			if got := valueOf(t, b, "k"); got != "13" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// fill writes n keys of 300 bytes each below a prefix.
func fill(tx store.Tx, prefix string, n int) error {
	for i := range n {
		if err := tx.Set(fmt.Appendf(nil, "%s%06d", prefix, i), bytes.Repeat([]byte("v"), 300)); err != nil {
			return err
		}
	}
	return nil
}

func count(t *testing.T, s store.Store, prefix string) (n int) {
	t.Helper()
	storetest.MustView(t, s, func(r store.Reader) error {
		n = 0
		return r.Scan([]byte(prefix), store.PrefixEnd([]byte(prefix)), func(_, _ []byte) (bool, error) { n++; return true, nil })
	})
	return n
}

// TestLargeChange makes a change that does not fit into a transaction, and looks
// at it through servers that see the chunks only, or that start meanwhile.
func TestLargeChange(t *testing.T) {
	t.Parallel()
	const n = 8000
	c := etcdtest.Start(t, etcdtest.Options{})
	hold := func(o *Options) { o.timing.lock, o.timing.help = time.Hour, time.Hour }
	a, b, _ := pair(t, c, hold)
	must(t, a.Update(t.Context(), func(tx store.Tx) error { return fill(tx, "old/", 100) }))
	done := make(chan error, 1)
	go func() {
		done <- a.Update(context.Background(), func(tx store.Tx) error {
			if err := tx.DeleteRange([]byte("old/"), []byte("old0")); err != nil {
				return err
			}
			if err := tx.Set([]byte("old/kept"), []byte("v")); err != nil {
				return err
			}
			return fill(tx, "new/", n)
		})
	}()
	look := func(s store.Store, what string) {
		t.Helper()
		if got := count(t, s, "new/"); got != n {
			t.Errorf("%s: %d new records, want %d", what, got, n)
		}
		if got := count(t, s, "old/"); got != 1 {
			t.Errorf("%s: %d old records, want 1", what, got)
		}
	}
	// The lock has come; without it, nothing shows that the change has begun.
	eventually(t, "the change is committed", func() bool {
		st := b.newest.Load()
		if !st.head.Large.moving() {
			if got := count(t, b, "new/"); got != 0 && got != n {
				t.Errorf("%d new records before the change is committed", got)
			}
			return count(t, b, "new/") == n
		}
		return true
	})
	look(b, "another server")
	o := options(t, c, b.opts.Prefix, "c")
	hold(&o)
	look(mustOpen(t, o), "a server that starts meanwhile")
	must(t, <-done)
	look(a, "the server that made it")
	eventually(t, "all chunks are moved", func() bool { return b.newest.Load().head.Large == nil })
	o = options(t, c, b.opts.Prefix, "d")
	d := mustOpen(t, o)
	look(d, "a server that starts later")
	from, to := d.keys.allChunks()
	resp, err := d.client.rangeOf(t.Context(), &pb.RangeRequest{Key: from, RangeEnd: to, CountOnly: true})
	must(t, err)
	if resp.Count != 0 {
		t.Errorf("%d chunks are left", resp.Count)
	}
	must(t, appendTo(d, "k", "1"))
}

// TestChunks looks at a large change right after it was made, through another
// server, with and without showing all of it at once.
func TestChunks(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for _, omit := range []bool{false, true} {
		t.Run(fmt.Sprintf("omit=%t", omit), func(t *testing.T) {
			o := options(t, c, newPrefix(), "a")
			o.timing.lock, o.timing.help, o.omit.chunks = time.Hour, time.Hour, omit
			a := mustOpen(t, o)
			o.Server.ID, o.Dir = "b", t.TempDir()
			b := mustOpen(t, o)
			half(t, a, 0)
			if got := count(t, b, "new/"); (got == 8000) == omit {
				t.Errorf("%d records", got)
			}
		})
	}
}

// half makes a large change and stops at a step: after the lock, or after a
// number of moves. It does what the committer of s would do.
func half(t *testing.T, s *Store, moves int) {
	t.Helper()
	must(t, s.awaitRegistration())
	c := newCommitter(s)
	st := s.acquire()
	defer st.release()
	lock := c.successor(st)
	lock.Large = &large{ID: "half", By: "dead"}
	// The store's own committer must not continue it.
	lock.By = "dead"
	if made, err := c.commit(st, lock, nil, nil); err != nil || !made {
		t.Fatalf("lock: %t, %v", made, err)
	}
	if moves < 0 {
		return
	}
	locked := s.acquire()
	defer locked.release()
	q := group.NewQueue()
	go func() { _ = q.Update(t.Context(), func(tx store.Tx) error { return fill(tx, "new/", 8000) }) }()
	<-q.Wake()
	c.todo, _ = q.Take(nil)
	c.runAll(locked, 1)
	w, err := c.collect(locked)
	must(t, err)
	parts := w.chunks()
	for i, part := range parts {
		if ok, err := c.upload(locked, i, part); err != nil || !ok {
			t.Fatalf("upload: %t, %v", ok, err)
		}
	}
	next := c.successor(locked)
	next.By = "dead"
	next.Large = &large{ID: "half", By: "dead", Chunks: len(parts)}
	if made, err := c.commit(locked, next, nil, &c.g); err != nil || !made {
		t.Fatalf("commit: %t, %v", made, err)
	}
	group.Answer(c.g.Take(), c.outcome)
	for range moves {
		st := s.acquire()
		must(t, c.moveOne(st))
		st.release()
	}
}

// closedDuringMove returns a store that was closed when it had moved one chunk of a large
// change.
func closedDuringMove(t *testing.T, c *etcdtest.Cluster) *Store {
	t.Helper()
	o := options(t, c, newPrefix(), "a")
	o.timing.lock, o.timing.help = time.Hour, time.Hour
	s := mustOpen(t, o)
	half(t, s, 1)
	must(t, s.Close())
	return s
}

// TestSlowFunction makes changes whose functions run for so long that another server
// is faster each time, until the commit key is locked.
func TestSlowFunction(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, b, _ := pair(t, c, nil)
	chunks := func() int64 {
		from, to := a.keys.allChunks()
		resp, err := a.client.rangeOf(t.Context(), &pb.RangeRequest{Key: from, RangeEnd: to, CountOnly: true})
		if err != nil {
			t.Error(err)
		}
		return resp.GetCount()
	}
	for _, n := range []int{1, maxWrites + 1} {
		runs := 0
		must(t, a.Update(t.Context(), func(tx store.Tx) error {
			if runs++; runs > maxLosses+3 {
				return errors.New("the function runs again and again")
			}
			if a.newest.Load().head.Large == nil {
				if err := appendTo(b, "k", "x"); err != nil {
					return err
				}
			} else if n == 1 {
				eventually(t, "a sign of life", func() bool { return chunks() > 0 })
			}
			return fill(tx, "new/", n)
		}))
		if left := chunks(); left > 0 && n == 1 {
			t.Errorf("%d keys of the lock are left", left)
		}
		if got := count(t, b, "new/"); got != n {
			t.Errorf("%d records, want %d", got, n)
		}
	}
}

// deferredError is deferred work that fails.
type deferredError struct{ error }

func (d deferredError) Commit(store.Tx, []store.Deferred) error { return d }

// heldWatches lets no watch report anything while it is locked.
type heldWatches struct{ sync.Mutex }

func (h *heldWatches) intercept(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, conn, method, opts...)
	if err == nil && strings.HasSuffix(method, "/Watch") {
		s = &heldWatch{s, h}
	}
	return s, err
}

type heldWatch struct {
	grpc.ClientStream
	h *heldWatches
}

func (w *heldWatch) RecvMsg(m any) error {
	err := w.ClientStream.RecvMsg(m)
	w.h.Lock()
	defer w.h.Unlock()
	return err
}

// TestFailureUnderLock makes changes that fail once others have been faster so often that
// the commit key is locked: nothing of them is left.
func TestFailureUnderLock(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Args: []string{"--quota-backend-bytes=67108864"}})
	var watches heldWatches
	a, b, _ := pair(t, c, func(o *Options) { o.dial = []grpc.DialOption{grpc.WithChainStreamInterceptor(watches.intercept)} })
	failure := deferredError{errors.New("the deferred work fails")}
	for name, test := range map[string]struct {
		fn   func(store.Tx) error
		want error
	}{
		"no space": {want: store.ErrFull, fn: func(tx store.Tx) error {
			for i := range 40 {
				if err := tx.Set(fmt.Appendf(nil, "new/%d", i), make([]byte, 1<<20)); err != nil {
					return err
				}
			}
			return nil
		}},
		"deferred work": {want: failure, fn: func(tx store.Tx) error {
			tx.Defer(failure)
			return fill(tx, "new/", 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var hold sync.Once
			err := a.Update(t.Context(), func(tx store.Tx) error {
				if a.newest.Load().head.Large != nil {
					hold.Do(watches.Lock) // what the store shows then comes from its own commits
					return test.fn(tx)
				}
				return errors.Join(appendTo(b, "k", "x"), fill(tx, "new/", 1))
			})
			hold.Do(watches.Lock)
			watches.Unlock()
			if !errors.Is(err, test.want) {
				t.Errorf("the change: %v, want %v", err, test.want)
			}
			for _, s := range []*Store{a, b} {
				must(t, appendTo(s, "k", "x"))
				if n := count(t, s, "new/"); n > 0 {
					t.Errorf("%s shows %d records of it", s.opts.Server.ID, n)
				}
			}
		})
	}
}

// TestSlowFunctionKeepsLock lets a function run under the lock until it has shown
// several signs of life, while another server waits to break the lock.
func TestSlowFunctionKeepsLock(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, b, _ := pair(t, c, func(o *Options) { o.timing.lock = 10 * time.Second }) // a busy server must not seem dead
	runs := 0
	waiting := make(chan error, 1)
	must(t, a.Update(t.Context(), func(tx store.Tx) error {
		if l := a.newest.Load().head.Large; l != nil {
			if runs++; runs > 1 {
				return errors.New("the lock was broken")
			}
			go func() { waiting <- appendTo(b, "k", "x") }()
			for deadline := time.Now().Add(2 * time.Minute); a.newest.Load().head.Large != nil; time.Sleep(10 * time.Millisecond) {
				from, to := a.keys.chunks(l.ID)
				resp, err := a.client.rangeOf(t.Context(), &pb.RangeRequest{Key: from, RangeEnd: to, CountOnly: true})
				if err != nil {
					return err
				}
				if resp.Count >= 9 { // one each quarter of the limit; a lock without is broken after two
					break
				}
				if time.Now().After(deadline) {
					return fmt.Errorf("%d signs of life", resp.Count)
				}
			}
		}
		return fill(tx, "new/", maxWrites+1)
	}))
	must(t, <-waiting)
}

// TestDeadLargeChange lets a server die in the middle of a large change: the
// others go on, with all of it or nothing.
func TestDeadLargeChange(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for _, test := range []struct {
		name  string
		moves int
		want  int
	}{{"locked", -1, 0}, {"committed", 0, 8000}, {"moved in part", 1, 8000}} {
		t.Run(test.name, func(t *testing.T) {
			o := options(t, c, newPrefix(), "a")
			o.timing.lock = time.Second
			a := mustOpen(t, o)
			half(t, a, test.moves)
			o.Server.ID, o.Dir = "b", t.TempDir()
			b := mustOpen(t, o)
			if got := count(t, b, "new/"); got != test.want {
				t.Errorf("%d records, want %d", got, test.want)
			}
			must(t, appendTo(b, "k", "1"))
			if got := count(t, a, "new/"); got != test.want {
				t.Errorf("%d records at the other, want %d", got, test.want)
			}
		})
	}
}

// TestChangesDuringMove makes changes while the chunks of a large change are moved:
// those that write elsewhere are made at once, the others once the chunk is moved.
func TestChangesDuringMove(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for _, omit := range []bool{false, true} {
		t.Run(fmt.Sprintf("omit=%t", omit), func(t *testing.T) {
			o := options(t, c, newPrefix(), "a")
			o.timing.help, o.omit.spans = time.Hour, omit
			a := mustOpen(t, o)
			o.Server.ID, o.Dir = "b", t.TempDir()
			b := mustOpen(t, o)
			half(t, a, 0)
			must(t, appendTo(b, "k", "1"))
			if !b.newest.Load().head.Large.moving() {
				t.Fatal("the change had to wait until everything was moved")
			}
			for _, s := range []*Store{a, b} {
				if got := valueOf(t, s, "k"); got != "1" {
					t.Errorf("got %q", got)
				}
			}
			done := make(chan error, 1)
			go func() { done <- appendTo(b, "new/000001", "later") }()
			if omit {
				must(t, <-done)
				done <- nil
			}
			mover := newCommitter(a)
			for a.newest.Load().head.Large != nil {
				st := a.acquire()
				if err := mover.moveOne(st); err != nil {
					t.Error(err)
				}
				st.release()
			}
			must(t, <-done)
			o.Server.ID, o.Dir = "c", t.TempDir()
			if later := strings.HasSuffix(valueOf(t, mustOpen(t, o), "new/000001"), "later"); later == omit {
				t.Errorf("the later change is there: %t", later)
			}
		})
	}
}

// TestManyWantTurns makes the largest change that fits into one transaction while more
// servers want a turn than the transaction can meet.
func TestManyWantTurns(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a := mustOpen(t, options(t, c, newPrefix(), "a"))
	must(t, appendTo(a, "k", "1"))
	var wants []*pb.RequestOp
	for i := range 100 {
		wants = append(wants, put(a.keys.want(fmt.Sprintf("%03d", i)), nil))
	}
	_, err := a.client.txn(t.Context(), &pb.TxnRequest{Success: wants})
	must(t, err)
	eventually(t, "the last server wants a turn", func() bool { return a.wantsTurn("099") })
	must(t, a.Update(t.Context(), func(tx store.Tx) error { return fill(tx, "new/", maxWrites) }))
	if got := count(t, a, "new/"); got != maxWrites {
		t.Errorf("%d records", got)
	}
}

// TestReopenDuringMove opens a store with the copy that it had during a large
// change: the copy has all of it, and is not loaded again.
func TestReopenDuringMove(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a := closedDuringMove(t, c)
	dir := a.newest.Load().copy.dir
	o := a.opts
	o.timing = patient
	a = mustOpen(t, o)
	if a.newest.Load().copy.dir != dir {
		t.Error("the copy was loaded again")
	}
	if got := count(t, a, "new/"); got != 8000 {
		t.Errorf("%d records", got)
	}
	must(t, appendTo(a, "k", "1"))
	if got := count(t, a, "new/"); got != 8000 {
		t.Errorf("%d records after a change", got)
	}
	o.Server.ID, o.Dir = "b", t.TempDir()
	if got := count(t, mustOpen(t, o), "new/"); got != 8000 {
		t.Errorf("%d records on a new server", got)
	}
}

// TestLateMover repeats a step of a large change that was made already, after the
// records were changed.
func TestLateMover(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	o := options(t, c, newPrefix(), "a")
	o.timing.lock, o.timing.help = time.Hour, time.Hour
	a := mustOpen(t, o)
	half(t, a, 0)
	late := a.acquire()
	defer late.release()
	w, err := a.chunk(t.Context(), late.head.Large, 0, 0)
	must(t, err)
	o.Server.ID, o.Dir, o.timing = "b", t.TempDir(), patient
	b := mustOpen(t, o)
	must(t, b.Update(t.Context(), func(tx store.Tx) error { return tx.DeleteRange([]byte("new/"), []byte("new0")) }))
	co := newCommitter(a)
	made, err := co.commit(late, co.successor(late), w, nil)
	if err != nil || made {
		t.Errorf("a late move: %t, %v", made, err)
	}
	if got := count(t, b, "new/"); got != 0 {
		t.Errorf("%d deleted records are back", got)
	}
}

// TestSizes makes changes around the limits of one transaction.
func TestSizes(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, b, _ := pair(t, c, nil)
	for _, n := range []int{nested, nested + 1, 126, 127, 128, 129, maxWrites, maxWrites + 1} {
		must(t, a.Update(t.Context(), func(tx store.Tx) error { return fill(tx, fmt.Sprintf("n%d/", n), n) }))
		if got := count(t, b, fmt.Sprintf("n%d/", n)); got != n {
			t.Errorf("%d of %d records", got, n)
		}
		// Deleting a range around records that are set.
		must(t, a.Update(t.Context(), func(tx store.Tx) error {
			if err := tx.DeleteRange(fmt.Appendf(nil, "n%d/", n), fmt.Appendf(nil, "n%d0", n)); err != nil {
				return err
			}
			return tx.Set(fmt.Appendf(nil, "n%d/%06d", n, n/2), []byte("kept"))
		}))
		if got := count(t, b, fmt.Sprintf("n%d/", n)); got != 1 {
			t.Errorf("%d records left of %d, want 1", got, n)
		}
	}
	for _, size := range []int{1 << 20, maxBytes - 1000} {
		must(t, a.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte("big"), make([]byte, size)) }))
		if got := valueOf(t, b, "big"); len(got) != size {
			t.Errorf("%d of %d bytes", len(got), size)
		}
	}
	if err := a.Update(t.Context(), func(tx store.Tx) error { return tx.Set([]byte("big"), make([]byte, 2<<20)) }); err == nil || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a value of 2 MiB: %v", err)
	}
	must(t, a.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Set([]byte("big1"), make([]byte, 1<<20)), tx.Set([]byte("big2"), make([]byte, 1<<20)))
	}))
	if got := count(t, b, "big"); got != 3 {
		t.Errorf("%d big records", got)
	}
}

// TestLargeRecords loads, and catches up with, more large records than fit into one reply,
// also if etcd's limit for requests doesn't make it divide its watch responses.
func TestLargeRecords(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"--max-request-bytes=1572864", "--max-request-bytes=67108864"} {
		t.Run(arg, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.Start(t, etcdtest.Options{Args: []string{"--quota-backend-bytes=1073741824", arg}})
			prefix := newPrefix()
			behind := options(t, c, prefix, "behind")
			b := mustOpen(t, behind)
			must(t, b.Close())
			a := mustOpen(t, options(t, c, prefix, "a"))
			const n = 2 * maxReply / maxValue
			want := strings.Repeat("x", maxValue-len("k00"))
			for i := range n {
				must(t, appendTo(a, fmt.Sprintf("k%02d", i), want))
				must(t, appendTo(a, fmt.Sprintf("s%02d", i), "small"))
			}
			stores := map[string]*Store{"loaded": mustOpen(t, options(t, c, prefix, "loaded")), "behind": mustOpen(t, behind)}
			for name, s := range stores {
				for i := range n {
					if got := valueOf(t, s, fmt.Sprintf("k%02d", i)); got != want {
						t.Fatalf("%s: record %d has %d bytes", name, i, len(got))
					}
				}
				if got := count(t, s, ""); got != 2*n {
					t.Errorf("%s: %d records, want %d", name, got, 2*n)
				}
			}
		})
	}
}
