//go:build unix

package etcdstore

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// TestCreate starts two servers at once on an empty prefix: they must have one store,
// in which the first records are those of one of them.
func TestCreate(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for range 5 {
		prefix := newPrefix()
		stores := make(chan *Store, 2)
		for _, name := range []string{"a", "b"} {
			o := options(t, c, prefix, name)
			go func() {
				s, err := Open(context.Background(), o)
				if err == nil {
					err = s.Update(context.Background(), func(tx store.Tx) error {
						if _, err := tx.Get([]byte("keys")); !errors.Is(err, store.ErrNotFound) {
							return err
						}
						return errors.Join(tx.Set([]byte("keys"), []byte(name)), tx.Set([]byte("keys of "+name), []byte(name)))
					})
				}
				if err != nil {
					t.Errorf("open: %v", err)
				}
				stores <- s
			}()
		}
		a, b := <-stores, <-stores
		if t.Failed() {
			return
		}
		if x, y := valueOf(t, a, "keys"), valueOf(t, b, "keys"); x != y || x == "" {
			t.Errorf("one server has %q, the other %q", x, y)
		}
		if n := count(t, a, ""); n != 2 {
			t.Errorf("%d records, want 2", n)
		}
		must(t, errors.Join(a.Close(), b.Close()))
	}
}

// putRaw writes a key to etcd, as another program would.
func putRaw(t *testing.T, c *etcdtest.Cluster, key, value string) {
	t.Helper()
	o := options(t, c, "/", "x")
	client, err := newClient(o)
	must(t, err)
	defer client.close()
	_, err = client.txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{put([]byte(key), []byte(value))}})
	must(t, err)
}

func TestForeignData(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	open := func(prefix string) error {
		s, err := Open(t.Context(), options(t, c, prefix, "a"))
		if err == nil {
			err = s.Close()
		}
		return err
	}
	putRaw(t, c, "/other/x", "1")
	if err := open("/other/"); !errors.Is(err, ErrNotAStore) {
		t.Errorf("a prefix that contains something else: %v", err)
	}
	putRaw(t, c, "/text/c", "not a commit")
	if err := open("/text/"); !errors.Is(err, ErrNotAStore) {
		t.Errorf("a commit key that contains something else: %v", err)
	}
	putRaw(t, c, "/newer/c", `{"format":2}`)
	if err := open("/newer/"); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("a newer format: %v", err)
	}

	s := mustOpen(t, options(t, c, newPrefix(), "a"))
	must(t, appendTo(s, "k", "1"))
	putRaw(t, c, s.opts.Prefix+"k/k", "foreign")
	eventually(t, "the store stops", func() bool {
		return errors.Is(s.View(t.Context(), func(store.Reader) error { return nil }), errForeign)
	})

	// The next start notices it, too, and an operator can accept it.
	must(t, s.Close())
	s = mustOpen(t, s.opts)
	must(t, s.AcceptRestored(t.Context()))
	if got := valueOf(t, s, "k"); got != "foreign" {
		t.Errorf("accepted, and the value is %q", got)
	}
}

// TestForeignDataCompacted changes a store while no server runs, and removes the history
// that would show it.
func TestForeignDataCompacted(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	other := mustOpen(t, options(t, c, newPrefix(), "a"))
	for name, op := range map[string]func(k keys) *pb.RequestOp{
		"put":    func(k keys) *pb.RequestOp { return put(k.record([]byte("k7")), []byte("foreign")) },
		"new":    func(k keys) *pb.RequestOp { return put(k.record([]byte("l")), []byte("foreign")) },
		"delete": func(k keys) *pb.RequestOp { return remove(k.record([]byte("k7")), nil) },
		"none":   func(k keys) *pb.RequestOp { return put([]byte("/elsewhere"), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, options(t, c, newPrefix(), "a"))
			for i := range 10 {
				must(t, appendTo(s, fmt.Sprint("k", i), "1"))
			}
			must(t, s.Close())
			_, err := other.client.txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{op(s.keys)}})
			must(t, err)
			compactAll(t, other)
			s = mustOpen(t, s.opts)
			if name == "none" {
				must(t, appendTo(s, "k1", "2"))
				return
			}
			eventually(t, "the store stops", func() bool { return errors.Is(s.refusal(), errForeign) })
			must(t, s.AcceptRestored(t.Context()))
			must(t, appendTo(s, "k1", "2"))
		})
	}
}

// TestChunkDeleted deletes a part of a large change that is committed and not in the
// records yet. Servers say so, until an operator accepts the loss.
func TestChunkDeleted(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a := closedDuringMove(t, c)
	o := a.opts
	admin, err := newClient(o)
	must(t, err)
	defer admin.close()
	_, err = admin.txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{remove(a.keys.allChunks())}})
	must(t, err)

	o.timing = patient
	a = mustOpen(t, o)
	if err := appendTo(a, "k", "1"); !errors.Is(err, errForeign) {
		t.Errorf("a change: %v", err)
	}
	other := o
	other.Server.ID, other.Dir = "b", t.TempDir()
	if _, err := Open(t.Context(), other); !errors.Is(err, errForeign) {
		t.Errorf("another server: %v", err)
	}
	must(t, a.AcceptRestored(t.Context()))
	must(t, appendTo(a, "k", "1"))
	b := mustOpen(t, other)
	if x, y := count(t, a, ""), count(t, b, ""); x != y {
		t.Errorf("the servers have %d and %d records", x, y)
	}
}

// TestDuplicate opens a second store with the same server ID.
func TestDuplicate(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	o := options(t, c, newPrefix(), "a")
	o.timing.lease, o.timing.report = 20*time.Second, time.Second // a busy server must not seem dead
	a := mustOpen(t, o)
	must(t, appendTo(a, "k", "1"))
	o.Dir = t.TempDir()
	clone := mustOpen(t, o)
	eventually(t, "the clone stops", func() bool { return errors.Is(clone.refusal(), ErrDuplicateServer) })
	must(t, appendTo(a, "k", "2"))
}

// TestDeadServersLease starts a server again that has died, while the lease of its
// registration is renewed. That is what etcd does at each change of its leader.
func TestDeadServersLease(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	o := options(t, c, newPrefix(), "a")
	o.timing.lease = 3 * time.Second
	a := mustOpen(t, o)
	must(t, appendTo(a, "k", "1"))
	// The first registration of the next process finds one that nobody has ended.
	must(t, a.Close())
	client, err := newClient(o)
	must(t, err)
	defer client.close()
	var lease *pb.LeaseGrantResponse
	must(t, client.call(t.Context(), func(ctx context.Context, m *member) (err error) {
		lease, err = m.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 3})
		return err
	}))
	_, err = client.txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
		Key: a.keys.server("a"), Value: []byte(`{"incarnation":"dead"}`), Lease: lease.ID,
	}}}}})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		for {
			err := client.call(ctx, func(ctx context.Context, m *member) error {
				stream, err := m.lease.LeaseKeepAlive(ctx)
				if err == nil {
					err = stream.Send(&pb.LeaseKeepAliveRequest{ID: lease.ID})
				}
				if err == nil {
					_, err = stream.Recv()
				}
				return err
			})
			if err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	defer func() { cancel(); <-renewed }()
	a = mustOpen(t, o)
	must(t, appendTo(a, "k", "2"))
	if err := a.refusal(); err != nil {
		t.Error(err)
	}
}

// TestLeaseLost ends a server's registration: it registers again, and its changes
// go on.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a := mustOpen(t, options(t, c, newPrefix(), "a"))
	must(t, appendTo(a, "k", "1"))
	before := a.registration.incarnation()
	a.revoke(t.Context(), a.registration.leaseID())
	must(t, appendTo(a, "k", "2"))
	if a.registration.incarnation() == before {
		t.Error("a change was made without a registration")
	}
	if got := valueOf(t, a, "k"); got != "12" {
		t.Errorf("got %q", got)
	}
}

// TestReopen opens a store again with its copy: one that is up to date, one that
// is behind, one whose next commits were compacted, and a damaged one.
func TestReopen(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for _, test := range []struct {
		name    string
		away    func(t *testing.T, a Options, b *Store)
		reloads bool
	}{
		{"up to date", func(*testing.T, Options, *Store) {}, false},
		{"behind", func(t *testing.T, _ Options, b *Store) { must(t, appendTo(b, "k", "2")) }, false},
		{"up to date and compacted", func(t *testing.T, _ Options, b *Store) { compactAll(t, b) }, false},
		{"behind and compacted", func(t *testing.T, _ Options, b *Store) {
			must(t, appendTo(b, "k", "2"))
			compactAll(t, b)
		}, true},
		{"damaged", func(t *testing.T, a Options, _ *Store) {
			entries, err := os.ReadDir(a.Dir)
			must(t, err)
			files, err := os.ReadDir(a.Dir + "/" + entries[0].Name())
			must(t, err)
			for _, f := range files {
				must(t, os.WriteFile(a.Dir+"/"+entries[0].Name()+"/"+f.Name(), []byte("damaged"), 0o600))
			}
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			prefix := newPrefix()
			o := options(t, c, prefix, "a")
			a := mustOpen(t, o)
			b := mustOpen(t, options(t, c, prefix, "b"))
			must(t, appendTo(a, "k", "1"))
			dir := a.newest.Load().copy.dir
			must(t, a.Close())
			test.away(t, o, b)
			a = mustOpen(t, o)
			if got, want := valueOf(t, a, "k"), valueOf(t, b, "k"); got != want || got == "" {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := a.newest.Load().copy.dir != dir; got != test.reloads {
				t.Errorf("loaded again: %t", got)
			}
		})
	}
}

func compactAll(t *testing.T, s *Store) {
	t.Helper()
	h, err := s.readHead(t.Context())
	must(t, err)
	must(t, s.client.call(t.Context(), func(ctx context.Context, m *member) error {
		_, err := m.kv.Compact(ctx, &pb.CompactionRequest{Revision: h.revision, Physical: true})
		return err
	}))
}

// TestCompactedDuringLoad compacts the revision that a load reads.
func TestCompactedDuringLoad(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a := mustOpen(t, options(t, c, newPrefix(), "a"))
	must(t, appendTo(a, "k", "1"))
	h, err := a.readHead(t.Context())
	must(t, err)
	must(t, appendTo(a, "k", "2"))
	compactAll(t, a)
	copied, err := newCopy(a.opts, a.giveUp)
	must(t, err)
	defer copied.discard()
	if err := a.fill(t.Context(), copied, h); !errors.Is(err, errCompacted) {
		t.Errorf("got %v", err)
	}
}

// TestDiskFails lets the disk with the copy fail, at each kind of operation: the
// store answers nothing wrong, and goes on when the disk works again.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	var broken atomic.Bool
	o := options(t, c, newPrefix(), "a")
	o.timing.patience, o.timing.attempt = 2*time.Second, time.Second
	o.fs = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	a := mustOpen(t, o)
	want := ""
	for round := range 3 {
		eventually(t, "a change", func() bool {
			err := appendTo(a, "k", "1")
			if err != nil && !errors.Is(err, store.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
		eventually(t, "its value", func() bool {
			return a.View(t.Context(), func(r store.Reader) error {
				v, err := r.Get([]byte("k"))
				want = string(v)
				return err
			}) == nil
		})
		broken.Store(true)
		for range 3 {
			err := a.Update(t.Context(), func(tx store.Tx) error { return fill(tx, "many/", 1000*(round+1)) })
			if err != nil && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a change on a broken disk: %v", err)
			}
		}
		broken.Store(false)
	}
	b := mustOpen(t, options(t, c, o.Prefix, "b"))
	if got := valueOf(t, b, "k"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	eventually(t, "the copy recovers", func() bool {
		n := 0
		err := a.View(t.Context(), func(r store.Reader) error {
			return r.Scan([]byte("many/"), []byte("many0"), func(_, _ []byte) (bool, error) { n++; return true, nil })
		})
		return err == nil && n == count(t, b, "many/")
	})

	// Operators read why the copy is behind.
	broken.Store(true)
	eventually(t, "an error that names the cause", func() bool {
		must(t, appendTo(b, "k", "2"))
		err := a.View(t.Context(), func(store.Reader) error { return nil })
		return errors.Is(err, store.ErrUnavailable) && strings.Contains(err.Error(), syscall.ENOSPC.Error())
	})
}

// TestFolderDeleted deletes the folder of the copy while the store runs.
func TestFolderDeleted(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a := mustOpen(t, options(t, c, newPrefix(), "a"))
	must(t, appendTo(a, "k", "1"))
	first := a.newest.Load().copy
	must(t, os.RemoveAll(a.opts.Dir))
	for i := range 32 { // more than the engine keeps in memory
		must(t, a.Update(t.Context(), func(tx store.Tx) error { return tx.Set(fmt.Appendf(nil, "f%d", i%4), make([]byte, 1<<20)) }))
	}
	eventually(t, "the copy is loaded again", func() bool { return a.newest.Load().copy != first })
	if got := valueOf(t, a, "k"); got != "1" {
		t.Errorf("got %q", got)
	}
}

// TestOtherStore opens a store with the copy of another one.
func TestOtherStore(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	o := options(t, c, newPrefix(), "a")
	a := mustOpen(t, o)
	must(t, appendTo(a, "k", "1"))
	must(t, a.Close())
	from, to := a.keys.all()
	client, err := newClient(o)
	must(t, err)
	defer client.close()
	_, err = client.txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{remove(from, to)}})
	must(t, err)
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrRestored) {
		t.Errorf("an empty prefix: %v", err)
	}
	o2 := o
	o2.Server.ID, o2.Dir = "b", t.TempDir()
	o2.Existing = true
	if _, err := Open(t.Context(), o2); !errors.Is(err, ErrNoStore) {
		t.Errorf("an empty prefix without a copy: %v", err)
	}
	o2.Existing = false
	b := mustOpen(t, o2)
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrOtherStore) {
		t.Errorf("another store: %v", err)
	}

	// The folder of b, and a wrong prefix.
	must(t, b.Close())
	o2.Prefix = newPrefix()
	if _, err := Open(t.Context(), o2); !errors.Is(err, ErrOtherStore) {
		t.Errorf("an empty prefix other than the copy's: %v", err)
	}
	o3 := o2
	o3.Server.ID, o3.Dir = "c", t.TempDir()
	mustOpen(t, o3)
	if _, err := Open(t.Context(), o2); !errors.Is(err, ErrOtherStore) {
		t.Errorf("another store under another prefix: %v", err)
	}
}

// TestOtherStoreMeanwhile puts another store, which has more commits, into the place of the
// one that a server knows, while that can't reach etcd.
func TestOtherStoreMeanwhile(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, b, proxies := pair(t, c, nil)
	eventually(t, "a change", func() bool { return appendTo(a, "k", "1") == nil })
	must(t, b.Close())
	proxies.Cut()

	o := options(t, c, b.opts.Prefix, "c")
	direct, err := newClient(o)
	must(t, err)
	defer direct.close()
	from, to := b.keys.all()
	_, err = direct.txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{remove(from, to)}})
	must(t, err)
	other := mustOpen(t, o)
	for range 20 {
		must(t, appendTo(other, "k", "2"))
	}
	must(t, c.Compact())
	proxies.Mend()
	eventually(t, "a refusal", func() bool { return errors.Is(a.refusal(), ErrOtherStore) })
	err = a.View(t.Context(), func(store.Reader) error { return nil })
	if !errors.Is(err, ErrOtherStore) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a View: %v", err)
	}
}

// TestBarrier makes several Views of one request: only the first needs etcd.
func TestBarrier(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	a, _, proxies := pair(t, c, func(o *Options) { o.timing.attempt, o.timing.patience = time.Second, 2*time.Second })
	eventually(t, "a change", func() bool { return appendTo(a, "k", "1") == nil })
	view := func(ctx context.Context) error { return a.View(ctx, func(store.Reader) error { return nil }) }
	ctx, other := store.WithBarrier(t.Context()), store.WithBarrier(t.Context())
	eventually(t, "a View", func() bool { return view(ctx) == nil })
	proxies[0].Cut()
	if err := view(ctx); err != nil {
		t.Errorf("a second View of the request: %v", err)
	}
	for _, ctx := range []context.Context{t.Context(), other} {
		if err := view(ctx); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a View of another request: %v", err)
		}
	}
	if err := appendTo(a, "k", "2"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a change: %v", err)
	}
	proxies[0].Mend()
	eventually(t, "Views again", func() bool { return view(t.Context()) == nil })
}

// TestStatusOfReturnedMember checks that a member that answers again isn't called silent
// because connecting to it failed a moment ago.
func TestStatusOfReturnedMember(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Members: 3})
	o := options(t, c, newPrefix(), "a")
	o.timing.attempt = time.Minute
	s := mustOpen(t, o)
	silent := func(limit time.Duration) (endpoints []string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		st, err := s.Status(ctx)
		must(t, err)
		for _, m := range st.Members {
			if m.Err != nil {
				endpoints = append(endpoints, m.Endpoint)
			}
		}
		return endpoints
	}
	c.Members[2].Kill()
	eventually(t, "silence of the member", func() bool { return len(silent(3*time.Second)) == 1 })
	c.Members[2].Restart()
	if endpoints := silent(2 * time.Minute); len(endpoints) > 0 {
		t.Errorf("silent: %q", endpoints)
	}
}

// TestStatus looks at the cluster, and checks that background work is taken over.
func TestStatus(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Members: 3})
	prefix := newPrefix()
	open := func(name string) *Store {
		o := options(t, c, prefix, name)
		o.timing.report = 200 * time.Millisecond
		return mustOpen(t, o)
	}
	a := open("a")
	eventually(t, "a is elected", a.Elected)
	b := open("b")
	must(t, appendTo(b, "k", "1"))
	c.Members[2].Kill()
	var st *Status
	eventually(t, "two servers report", func() bool {
		var err error
		st, err = b.Status(t.Context())
		return err == nil && len(st.Servers) == 2 && st.Servers[0].Reported && st.Servers[1].Reported
	})
	if !st.Servers[0].Elected || st.Servers[0].Name != "a" || st.Servers[1].Elected {
		t.Errorf("servers %+v", st.Servers)
	}
	leaders, failed := 0, 0
	for _, m := range st.Members {
		if m.Leader {
			leaders++
		}
		if m.Err != nil {
			failed++
		} else if m.Version == "" || m.DBSize == 0 || m.Quota == 0 || m.Name == "" {
			t.Errorf("member %+v", m)
		}
	}
	if leaders != 1 || failed != 1 {
		t.Errorf("%d leaders, %d failed, members %+v", leaders, failed, st.Members)
	}
	if a.Elected() && b.Elected() {
		t.Error("both servers are elected")
	}
	must(t, a.Close())
	eventually(t, "b is elected", b.Elected)
	before := b.samples.before(time.Now())
	must(t, b.Compact(t.Context(), time.Now()))
	if before == 0 {
		t.Error("no revision is known to compact to")
	}
}

// TestNoSpace fills etcd up to its quota: reads go on, also on a server that
// starts, and deleting works when there is room again.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	// The changes come so fast that a smaller quota would be used up before etcd is asked
	// again. It counts what it has written once that is in its backend.
	c := etcdtest.Start(t, etcdtest.Options{Args: []string{"--quota-backend-bytes=134217728", "--backend-batch-interval=2ms"}})
	o := options(t, c, newPrefix(), "a")
	o.timing.report = 50 * time.Millisecond
	a := mustOpen(t, o)
	if a.space.quota.Load() == 0 {
		t.Error("the first changes know no quota")
	}
	must(t, appendTo(a, "k", "1"))
	fill := func(ctx context.Context, size int) (changes int, err error) {
		for ; err == nil && changes < 10_000; changes++ {
			err = a.Update(ctx, func(tx store.Tx) error { return tx.Set(fmt.Appendf(nil, "f%d", changes%10), make([]byte, size)) })
		}
		return changes - 1, err
	}
	if err := a.Update(t.Context(), func(tx store.Tx) error {
		for i := range 60 {
			if err := tx.Set(fmt.Appendf(nil, "l%d", i), make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a large change that needs more than there is: %v", err)
	}
	// Each kind of change leaves space to the next.
	for r, size := range []int{store.NoReserve: 512 << 10, store.RemovalReserve: 16 << 10, store.LastReserve: 4 << 10} {
		n, err := fill(store.WithReserve(t.Context(), store.Reserve(r)), size)
		if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "quota") || n == 0 {
			t.Fatalf("changes with reserve %d: %v after %d changes", r, err, n)
		}
	}
	if got := valueOf(t, a, "k"); got != "1" {
		t.Errorf("a View: %q", got)
	}
	if st, err := a.Status(t.Context()); err != nil || len(st.Alarms) > 0 {
		t.Errorf("the store has used up etcd's quota: %v, %v", st.Alarms, err)
	}
	for i, err := 0, error(nil); err == nil; i++ {
		_, err = a.client.txn(t.Context(), &pb.TxnRequest{Success: []*pb.RequestOp{put(fmt.Appendf(nil, "/other/%d", i), make([]byte, 1<<20))}})
	}
	ob := options(t, c, o.Prefix, "b")
	ob.timing.patience = 5 * time.Second
	b := mustOpen(t, ob)
	if got := valueOf(t, b, "k"); got != "1" {
		t.Errorf("a View on a server without a registration: %q", got)
	}
	if err := appendTo(b, "k", "2"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a change: %v", err)
	}
	compactAll(t, a)
	// Without the store's client, which refuses a reply without a header, such as this.
	conn, err := grpc.NewClient(strings.TrimPrefix(c.Endpoints()[0], "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	_, err = pb.NewMaintenanceClient(conn).Defragment(t.Context(), &pb.DefragmentRequest{})
	must(t, err)
	must(t, a.client.call(t.Context(), func(ctx context.Context, m *member) error {
		active, err := m.maintenance.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
		for _, alarm := range active.GetAlarms() {
			_, err2 := m.maintenance.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: alarm.MemberID, Alarm: alarm.Alarm})
			err = errors.Join(err, err2)
		}
		return err
	}))
	for _, s := range []*Store{a, b} {
		eventually(t, "changes work again", func() bool { return appendTo(s, "k", "3") == nil })
	}
}

// TestQuotas asks members whose quotas differ: the one with the least space left counts.
func TestQuotas(t *testing.T) {
	type answer struct{ quota, size int64 } // size 0: none
	var answers atomic.Pointer[[3]answer]
	reply := func(_ context.Context, _ string, _, reply any, conn *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
		a := answers.Load()[conn.Target()[len(conn.Target())-1]-'0']
		if a.size == 0 {
			return status.Error(codes.Unavailable, "")
		}
		proto.Merge(reply.(proto.Message), &pb.StatusResponse{Header: &pb.ResponseHeader{}, Version: "3.6.9", DbSize: a.size, DbSizeQuota: a.quota})
		return nil
	}
	o := Options{Endpoints: []string{"http://m0", "http://m1", "http://m2"}, dial: []grpc.DialOption{grpc.WithChainUnaryInterceptor(reply)}, timing: patient}
	client, err := newClient(o)
	must(t, err)
	defer client.close()
	s := &Store{client: client, opts: o}
	for _, test := range []struct {
		answers [3]answer
		want    answer
	}{
		{[3]answer{{2000, 500}, {1000, 100}, {2000, 1500}}, answer{2000, 1500}},
		{[3]answer{{0, 900}, {1000, 100}, {-1, 900}}, answer{1000, 100}}, // older than 3.6, and without a quota
		{[3]answer{{1000, 100}, {-1, 900}, {1000, 400}}, answer{1000, 400}},
		{[3]answer{}, answer{1000, 400}},
		{[3]answer{{-1, 900}, {}, {0, 900}}, answer{}},
	} {
		answers.Store(&test.answers)
		must(t, s.askMembers(t.Context()))
		if got := (answer{s.space.quota.Load(), s.space.size.Load()}); got != test.want {
			t.Errorf("%v: the store knows %v, want %v", test.answers, got, test.want)
		}
	}
}

// TestSpaceWritten writes while the members are asked: what they may not have counted isn't
// forgotten.
func TestSpaceWritten(t *testing.T) {
	var s *Store
	reply := func(_ context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
		s.space.used.Add(10)
		proto.Merge(reply.(proto.Message), &pb.StatusResponse{Header: &pb.ResponseHeader{}, Version: "3.6.9", DbSize: 100, DbSizeInUse: 100, DbSizeQuota: 1000})
		return nil
	}
	o := Options{Endpoints: []string{"http://m"}, dial: []grpc.DialOption{grpc.WithChainUnaryInterceptor(reply)}, timing: patient}
	client, err := newClient(o)
	must(t, err)
	defer client.close()
	s = &Store{client: client, opts: o}
	for range 2 {
		must(t, s.askMembers(t.Context()))
		if got := s.space.used.Load(); got != 110 {
			t.Errorf("%d bytes are in use, want 110", got)
		}
	}
}

// TestPassword uses an etcd with users.
func TestPassword(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	o := options(t, c, newPrefix(), "a")
	client, err := newClient(o)
	must(t, err)
	defer client.close()
	must(t, client.call(t.Context(), func(ctx context.Context, m *member) error {
		_, err1 := m.auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "secret"})
		_, err2 := m.auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
		_, err3 := m.auth.AuthEnable(ctx, &pb.AuthEnableRequest{})
		return errors.Join(err1, err2, err3)
	}))
	for _, login := range [][2]string{{"", ""}, {"root", "wrong"}, {"nobody", "secret"}} {
		wrong := o
		wrong.Username, wrong.Password = login[0], login[1]
		if _, err := Open(t.Context(), wrong); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("login as %q: %v", login, err)
		}
	}
	o.Username, o.Password = "root", "secret"
	o.timing.attempt = 5 * time.Second
	a := mustOpen(t, o)
	must(t, appendTo(a, "k", "1"))
	c.Members[0].Kill() // with its tokens
	c.Members[0].Restart()
	eventually(t, "changes", func() bool { return appendTo(a, "k", "2") == nil })
	b := o
	b.Server.ID, b.Dir = "b", t.TempDir()
	other := mustOpen(t, b)
	must(t, appendTo(other, "k", "3"))
	eventually(t, "the watch goes on", func() bool { return strings.HasSuffix(valueOf(t, a, "k"), "3") })
}

// TestTLS uses an etcd that asks for certificates.
func TestTLS(t *testing.T) {
	t.Parallel()
	files := etcdtest.NewTLSFiles(t, "etcd")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	c := etcdtest.Start(t, etcdtest.Options{TLS: &files})
	o := options(t, c, newPrefix(), "a")
	o.timing.attempt, o.timing.patience = time.Second, 2*time.Second
	for _, wrong := range []*tls.Config{nil, {RootCAs: pool}, {Certificates: []tls.Certificate{pair}}} {
		o.TLS = wrong
		eventually(t, fmt.Sprintf("an error that names TLS, with %+v", wrong), func() bool {
			_, err := Open(t.Context(), o)
			if err == nil {
				t.Fatalf("TLS with %+v: no error", wrong)
			}
			return strings.Contains(err.Error(), "tls")
		})
	}
	o.timing = patient
	o.TLS = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	a := mustOpen(t, o)
	must(t, appendTo(a, "k", "1"))
	if got := valueOf(t, a, "k"); got != "1" {
		t.Errorf("got %q", got)
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"3.4.45": false, "3.5.0": false, "3.5.27": false, "3.5.28": true, "3.5.33": true, "3.6.0": false, "3.6.8": false, "3.6.9": true,
		"3.6.14": true, "3.7.0": true, "3.7.0-rc.0": true, "3.8.0-alpha.0": true, "4.0.0": true, "2.3.8": false, "unknown": true,
	} {
		if got := recent(version); got != want {
			t.Errorf("%s: %t", version, got)
		}
	}
}

// TestPages reads ranges with several distributions of keys, page by page.
func TestPages(t *testing.T) {
	const prefix = "/p/k/"
	key := func(n uint64) string { return prefix + string(binary.BigEndian.AppendUint64([]byte("s"), n)) }
	sets := map[string][]string{"empty": nil, "one": {prefix + "x"}, "first": {prefix}}
	for i := range uint64(30_000) {
		sets["hashes"] = append(sets["hashes"], key(i*0x9e3779b97f4a7c15))
		sets["one map"] = append(sets["one map"], key(7)+"m"+key(i * 0x9e3779b97f4a7c15)[len(prefix)+1:]+"version1")
		sets["counters"] = append(sets["counters"], key(i))
		sets["same 8 bytes"] = append(sets["same 8 bytes"], fmt.Sprintf("%ssamesame%06d", prefix, i))
	}
	sets["last"] = []string{prefix + "\xff\xff\xff\xff\xff\xff\xff\xff\xff", prefix + "\x00"}
	for name, keys := range sets {
		t.Run(name, func(t *testing.T) {
			slices.Sort(keys)
			var got []string
			requests, counted := 0, 0
			p := newPages([]byte(prefix), []byte("/p/k0"))
			for ; !p.done(); requests++ {
				r := p.request(1)
				from, _ := slices.BinarySearch(keys, string(r.Key))
				to, _ := slices.BinarySearch(keys, string(r.RangeEnd))
				resp := &pb.RangeResponse{Count: int64(to - from), More: to-from > int(r.Limit)}
				counted += to - from
				for _, k := range keys[from:min(to, from+int(r.Limit))] {
					resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: []byte(k)})
					got = append(got, k)
				}
				p.got(resp)
			}
			if !slices.Equal(got, keys) {
				t.Errorf("%d keys, want %d", len(got), len(keys))
			}
			if requests > 200 || counted > 4*len(keys) {
				t.Errorf("%d requests, and %d keys were counted", requests, counted)
			}
		})
	}
}

// TestWrites checks the encoding of chunks.
func TestWrites(t *testing.T) {
	w := new(writes)
	w.add(write{kind: setKey, key: []byte("a"), value: []byte("1")})
	w.add(write{kind: deleteKey, key: []byte("b")})
	w.add(write{kind: deleteRange, key: nil, value: nil})
	w.add(write{kind: deleteRange, key: []byte("c"), value: []byte("d")})
	b := w.encode()
	got, err := decodeWrites(b)
	must(t, err)
	if !bytes.Equal(got.encode(), b) || len(got.list) != len(w.list) {
		t.Errorf("got %v, want %v", got.list, w.list)
	}
	for n := range b {
		if _, err := decodeWrites(b[:n]); err == nil && n != 0 && n != 5 && n != 9 && n != 12 {
			t.Errorf("accepted the first %d bytes", n)
		}
	}
}
