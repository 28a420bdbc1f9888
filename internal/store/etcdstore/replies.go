package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The rest of the package relies on the form of what etcd answers: that a transaction has
// a response of the right kind for each operation, that a page that is not the last has
// keys, and so on. These interceptors check it, so that a member that answers something
// else, or a program that is no etcd, is one that does not answer.

// checkReplies is a grpc.UnaryClientInterceptor.
func checkReplies(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := invoke(ctx, method, req, reply, conn, opts...); err != nil {
		return err
	}
	return malformed(checkReply(req, reply))
}

// checkStream is a grpc.StreamClientInterceptor.
func checkStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, err
	}
	return &checkedStream{ClientStream: s}, nil
}

type checkedStream struct {
	grpc.ClientStream
	request any // the first
}

// SendMsg implements grpc.ClientStream.
func (s *checkedStream) SendMsg(m any) error {
	if s.request == nil {
		s.request = m
	}
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements grpc.ClientStream.
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	return malformed(checkReply(s.request, m))
}

func malformed(err error) error {
	if err == nil {
		return nil
	}
	return status.Errorf(codes.Internal, "malformed reply: %v", err)
}

// checkReply returns an error if a reply can't be one to the request.
func checkReply(req, reply any) error {
	r, ok := reply.(interface{ GetHeader() *pb.ResponseHeader })
	if !ok || r.GetHeader() == nil {
		return fmt.Errorf("%T has no header", reply)
	}
	header := r.GetHeader()
	switch r := reply.(type) {
	case *pb.RangeResponse:
		if header.Revision <= 0 {
			return fmt.Errorf("revision %d", header.Revision)
		}
		return checkRange(req.(*pb.RangeRequest), r)
	case *pb.TxnResponse:
		if header.Revision <= 0 {
			return fmt.Errorf("revision %d", header.Revision)
		}
		return checkTxn(req.(*pb.TxnRequest), r)
	case *pb.LeaseGrantResponse:
		if r.ID == 0 || r.ID == noLease {
			return fmt.Errorf("lease %d", r.ID)
		}
	case *pb.WatchResponse:
		create := req.(*pb.WatchRequest).GetCreateRequest()
		for _, e := range r.Events {
			if !within(e.GetKv(), create.GetKey(), create.GetRangeEnd()) || e.Kv.ModRevision <= 0 {
				return errors.New("an event that was not asked for")
			}
		}
	}
	return nil
}

func checkRange(req *pb.RangeRequest, r *pb.RangeResponse) error {
	if r.More && len(r.Kvs) == 0 {
		return errors.New("more keys, but none of them")
	}
	for i, kv := range r.Kvs {
		if !within(kv, req.Key, req.RangeEnd) {
			return errors.New("a key that was not asked for")
		}
		if i > 0 && req.SortTarget == pb.RangeRequest_KEY && bytes.Compare(r.Kvs[i-1].Key, kv.Key) >= 0 {
			return errors.New("keys that are not in order")
		}
	}
	return nil
}

// within reports whether kv is one of the keys of a request.
func within(kv *mvccpb.KeyValue, from, to []byte) bool {
	switch {
	case kv == nil:
		return false
	case len(to) == 0:
		return bytes.Equal(kv.Key, from)
	}
	return bytes.Compare(kv.Key, from) >= 0 && bytes.Compare(kv.Key, to) < 0
}

func checkTxn(req *pb.TxnRequest, r *pb.TxnResponse) error {
	ops := req.Failure
	if r.Succeeded {
		ops = req.Success
	}
	if len(r.Responses) != len(ops) {
		return fmt.Errorf("%d responses to %d operations", len(r.Responses), len(ops))
	}
	for i, op := range ops {
		var ok bool
		switch got := r.Responses[i]; {
		case op.GetRequestPut() != nil:
			ok = got.GetResponsePut() != nil
		case op.GetRequestDeleteRange() != nil:
			ok = got.GetResponseDeleteRange() != nil
		case op.GetRequestRange() != nil:
			inner := got.GetResponseRange()
			ok = inner != nil && checkRange(op.GetRequestRange(), inner) == nil
		case op.GetRequestTxn() != nil:
			inner := got.GetResponseTxn()
			ok = inner != nil && checkTxn(op.GetRequestTxn(), inner) == nil
		}
		if !ok {
			return fmt.Errorf("response %d does not fit its operation", i)
		}
	}
	return nil
}
