//go:build unix

package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestCheckReply(t *testing.T) {
	header := &pb.ResponseHeader{Revision: 5}
	key := func(key string) *mvccpb.KeyValue { return &mvccpb.KeyValue{Key: []byte(key), ModRevision: 5} }
	one := &pb.RangeRequest{Key: []byte("k")}
	many := &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l"), Limit: 2}
	txn := &pb.TxnRequest{
		Success: []*pb.RequestOp{put([]byte("k"), nil), {Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{remove([]byte("k"), nil)}}}}},
		Failure: []*pb.RequestOp{get([]byte("k"))},
	}
	wasPut := &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}}
	wasRemoved := &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{}}}
	wasRead := func(kvs ...*mvccpb.KeyValue) *pb.ResponseOp {
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{Kvs: kvs}}}
	}
	nested := func(ops ...*pb.ResponseOp) *pb.ResponseOp {
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: &pb.TxnResponse{Succeeded: true, Responses: ops}}}
	}
	watch := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l")}}}
	for _, c := range []struct {
		name       string
		req, reply any
		ok         bool
	}{
		{"no header", one, &pb.RangeResponse{}, false},
		{"no revision", one, &pb.RangeResponse{Header: &pb.ResponseHeader{}}, false},
		{"no key", one, &pb.RangeResponse{Header: header}, true},
		{"the key", one, &pb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{key("k")}}, true},
		{"another key", one, &pb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{key("kk")}}, false},
		{"keys", many, &pb.RangeResponse{Header: header, More: true, Kvs: []*mvccpb.KeyValue{key("ka"), key("kb")}}, true},
		{"a key twice", many, &pb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{key("ka"), key("ka")}}, false},
		{"a key beyond", many, &pb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{key("l")}}, false},
		{"more, without keys", many, &pb.RangeResponse{Header: header, More: true}, false},
		{"made", txn, &pb.TxnResponse{Header: header, Succeeded: true, Responses: []*pb.ResponseOp{wasPut, nested(wasRemoved)}}, true},
		{"not made", txn, &pb.TxnResponse{Header: header, Responses: []*pb.ResponseOp{wasRead(key("k"))}}, true},
		{"made, without responses", txn, &pb.TxnResponse{Header: header, Succeeded: true}, false},
		{"not made, without responses", txn, &pb.TxnResponse{Header: header}, false},
		{"responses that are mixed up", txn, &pb.TxnResponse{Header: header, Succeeded: true, Responses: []*pb.ResponseOp{nested(wasRemoved), wasPut}}, false},
		{"an empty response", txn, &pb.TxnResponse{Header: header, Responses: []*pb.ResponseOp{{}}}, false},
		{"a short nested response", txn, &pb.TxnResponse{Header: header, Succeeded: true, Responses: []*pb.ResponseOp{wasPut, nested()}}, false},
		{"a lease", &pb.LeaseGrantRequest{}, &pb.LeaseGrantResponse{Header: header, ID: 7}, true},
		{"no lease", &pb.LeaseGrantRequest{}, &pb.LeaseGrantResponse{Header: header}, false},
		{"an event", watch, &pb.WatchResponse{Header: header, Events: []*mvccpb.Event{{Kv: key("k1")}}}, true},
		{"an event without a key", watch, &pb.WatchResponse{Header: header, Events: []*mvccpb.Event{{}}}, false},
		{"an event of another key", watch, &pb.WatchResponse{Header: header, Events: []*mvccpb.Event{{Kv: key("l")}}}, false},
		{"an event without a revision", watch, &pb.WatchResponse{Header: header, Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: []byte("k")}}}}, false},
	} {
		if err := checkReply(c.req, c.reply); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// liar changes etcd's replies on their way to one store.
type liar struct {
	seed uint64
	on   atomic.Bool
	told atomic.Int64 // replies that it has changed
}

func (l *liar) dial() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := invoke(ctx, method, req, reply, conn, opts...)
			if err == nil {
				l.change(method, reply)
			}
			return err
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, desc, conn, method, opts...)
			return &lyingStream{s, l, method}, err
		}),
	}
}

type lyingStream struct {
	grpc.ClientStream
	liar   *liar
	method string
}

func (s *lyingStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		s.liar.change(s.method, m)
	}
	return err
}

// methods are those whose replies are changed, the important ones more often.
var methods = strings.Fields("Range Txn Watch Range Txn Watch LeaseGrant LeaseKeepAlive LeaseTimeToLive Status MemberList Alarm Put")

// change changes the replies of one method, all in the same way.
func (l *liar) change(method string, reply any) {
	r := rand.New(rand.NewPCG(l.seed, 0))
	if !l.on.Load() || !strings.HasSuffix(method, "/"+methods[l.seed%uint64(len(methods))]) {
		return
	}
	corrupt(r, reply.(proto.Message).ProtoReflect())
	l.told.Add(1)
}

// corrupt changes one field somewhere in m.
func corrupt(r *rand.Rand, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	fd := fields.Get(r.IntN(fields.Len()))
	for range 5 { // rather one that is there
		if m.Has(fd) {
			break
		}
		fd = fields.Get(r.IntN(fields.Len()))
	}
	number := func(old int64) int64 {
		return []int64{0, -1, 1, old - 1, old + 1, math.MaxInt64, math.MinInt64}[r.IntN(7)]
	}
	switch {
	case fd.IsList():
		list := m.Mutable(fd).List()
		switch n := list.Len(); {
		case n > 0 && fd.Message() != nil && r.IntN(2) == 0:
			corrupt(r, list.Get(r.IntN(n)).Message())
		case n > 0 && r.IntN(2) == 0:
			list.Append(list.Get(0))
		default:
			list.Truncate(n / 2)
		}
	case fd.Message() != nil:
		if m.Has(fd) && r.IntN(3) == 0 {
			m.Clear(fd)
		} else {
			corrupt(r, m.Mutable(fd).Message())
		}
	case fd.Kind() == protoreflect.BoolKind:
		m.Set(fd, protoreflect.ValueOfBool(!m.Get(fd).Bool()))
	case fd.Kind() == protoreflect.EnumKind:
		m.Set(fd, protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(9))))
	case fd.Kind() == protoreflect.BytesKind:
		old := m.Get(fd).Bytes()
		m.Set(fd, protoreflect.ValueOfBytes([][]byte{nil, old[:len(old)/2], append([]byte("x"), old...), make([]byte, 4<<20), []byte(`{"format":1,"n":18446744073709551615,"large":{"chunks":-5,"moved":9}}`)}[r.IntN(5)]))
	case fd.Kind() == protoreflect.StringKind:
		m.Set(fd, protoreflect.ValueOfString([]string{"", "x", strings.Repeat("y", 1<<20)}[r.IntN(3)]))
	case fd.Kind() == protoreflect.Uint64Kind:
		m.Set(fd, protoreflect.ValueOfUint64(uint64(number(int64(m.Get(fd).Uint())))))
	case fd.Kind() == protoreflect.Int64Kind:
		m.Set(fd, protoreflect.ValueOfInt64(number(m.Get(fd).Int())))
	}
}

// TestLies runs stores whose etcd answers what no etcd would. They may fail, but end
// with an error in time, and another store doesn't notice.
func TestLies(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	o := options(t, c, newPrefix(), "honest")
	honest := mustOpen(t, o)
	must(t, appendTo(honest, "k", "1"))
	seeds := make(chan uint64)
	var all sync.WaitGroup
	var told atomic.Int64
	for range 8 {
		all.Go(func() {
			for seed := range seeds {
				l := &liar{seed: seed}
				l.on.Store(seed%3 == 0)
				lied := options(t, c, o.Prefix, fmt.Sprint("lied to ", seed))
				lied.dial, lied.Logger = l.dial(), nil
				lied.timing.attempt, lied.timing.patience, lied.timing.behind = 300*time.Millisecond, 600*time.Millisecond, 200*time.Millisecond
				lied.timing.report, lied.timing.lease = 50*time.Millisecond, time.Second
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
				if s, err := Open(ctx, lied); err == nil {
					l.on.Store(true)
					for range 3 {
						_ = appendTo(s, fmt.Sprint("k", seed), "1")
						_ = s.View(ctx, func(r store.Reader) error { _, err := r.Get([]byte("k")); return err })
						_, _ = s.Status(ctx)
					}
					if err := s.Close(); err != nil {
						t.Errorf("seed %d: close: %v", seed, err)
					}
				}
				if ctx.Err() != nil {
					t.Errorf("seed %d: it hangs", seed)
				}
				told.Add(l.told.Load())
				cancel()
			}
		})
	}
	n := uint64(150)
	if testing.Short() {
		n = 40
	}
	for seed := range n {
		seeds <- seed
	}
	close(seeds)
	all.Wait()
	if told.Load() == 0 {
		t.Error("no reply was changed")
	}
	must(t, appendTo(honest, "k", "2"))
	if got := valueOf(t, honest, "k"); got != "12" {
		t.Errorf("the honest store has %q", got)
	}
}

// endless is an etcd whose replies are too large.
type endless struct{ pb.UnimplementedKVServer }

func (endless) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: 1}, Kvs: []*mvccpb.KeyValue{{Key: r.Key, Value: make([]byte, maxReply)}}}, nil
}

func TestReplyLimit(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer()
	pb.RegisterKVServer(server, endless{})
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	defer func() { server.Stop(); <-served }()
	client, err := newClient(Options{Endpoints: []string{"http://" + l.Addr().String()}, timing: timing{attempt: 20 * time.Second, patience: 100 * time.Millisecond}})
	must(t, err)
	defer client.close()
	if _, err := client.rangeOf(t.Context(), &pb.RangeRequest{Key: []byte("k")}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a reply of more than %d bytes: %v", maxReply, err)
	}
}

// TestEndlessRevision reports a revision without an end: the store does not collect all
// its events.
func TestEndlessRevision(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{})
	for _, e := range []*endlessEvents{{count: 1, size: 1 << 20}, {count: 4096, size: 0}} {
		t.Run(fmt.Sprintf("size=%d", e.size), func(t *testing.T) {
			o := options(t, c, newPrefix(), "a")
			o.dial = []grpc.DialOption{grpc.WithChainStreamInterceptor(e.intercept)}
			s := mustOpen(t, o)
			must(t, appendTo(s, "k", "1"))
			e.left.Store(1000)
			must(t, appendTo(s, "k", "2"))
			eventually(t, "the watch begins again", func() bool { return e.watches.Load() > 1 })
			if left := e.left.Swap(0); left < 1000-maxReply>>20-2 {
				t.Errorf("the store has received %d fragments of one revision", 1000-left)
			}
			must(t, appendTo(s, "k", "3"))
			if got := valueOf(t, s, "k"); got != "123" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// endlessEvents adds fragments to watch responses, which have a number of events with
// values of a size.
type endlessEvents struct {
	count   int
	size    int
	left    atomic.Int64
	watches atomic.Int64
}

func (e *endlessEvents) intercept(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, conn, method, opts...)
	if err == nil && strings.HasSuffix(method, "/Watch") {
		e.watches.Add(1)
		s = &endlessStream{ClientStream: s, e: e}
	}
	return s, err
}

type endlessStream struct {
	grpc.ClientStream
	e     *endlessEvents
	event *mvccpb.Event // that is reported again and again
}

// RecvMsg implements grpc.ClientStream.
func (s *endlessStream) RecvMsg(m any) error {
	resp := m.(*pb.WatchResponse)
	if s.event != nil && s.e.left.Add(-1) >= 0 {
		resp.Header, resp.Fragment, resp.Events = &pb.ResponseHeader{Revision: 1}, true, slices.Repeat([]*mvccpb.Event{s.event}, s.e.count)
		return nil
	}
	err := s.ClientStream.RecvMsg(m)
	if err == nil && len(resp.Events) > 0 && s.e.left.Load() > 0 {
		first := proto.Clone(resp.Events[0]).(*mvccpb.Event)
		first.Kv.Value = make([]byte, s.e.size)
		resp.Fragment, s.event = true, first
	}
	return err
}
