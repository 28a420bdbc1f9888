//go:build unix

package etcdstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// BenchmarkCluster compares the store with etcd itself, alternately, on three
// members: changes with durable puts of one record, and Views with linearizable
// gets. The ratios mean more than the rates.
func BenchmarkCluster(b *testing.B) {
	c := etcdtest.Start(b, etcdtest.Options{Members: 3, Durable: true})
	prefix := newPrefix()
	var stores []*Store
	for i := range 3 {
		o := options(b, c, prefix, fmt.Sprintf("s%d", i))
		o.Logger = nil
		endpoints := o.Endpoints
		o.Endpoints = append(append([]string(nil), endpoints[i:]...), endpoints[:i]...)
		s, err := Open(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		stores = append(stores, s)
	}
	value := make([]byte, 300)
	// Like a change of a secret: its own records, and the head of its map.
	update := func(s *Store, n uint64) error {
		return s.Update(context.Background(), func(tx store.Tx) error {
			for i := range 4 {
				key := binary.BigEndian.AppendUint64([]byte{'a' + byte(i)}, n*0x9e3779b97f4a7c15)
				if i == 0 {
					key = []byte("head")
				}
				if err := tx.Set(key, value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	view := func(s *Store, n uint64) error {
		return s.View(context.Background(), func(r store.Reader) error {
			_, err := r.Get([]byte("head"))
			return err
		})
	}
	putOne := func(s *Store, n uint64) error {
		_, err := s.client.txn(context.Background(), &pb.TxnRequest{Success: []*pb.RequestOp{put(fmt.Appendf(nil, "/bench/%d", n), value)}})
		return err
	}
	getOne := func(s *Store, n uint64) error {
		_, err := s.client.rangeOf(context.Background(), &pb.RangeRequest{Key: []byte("/bench/1")})
		return err
	}
	for _, servers := range []int{1, 3} {
		for _, work := range []struct {
			name      string
			workers   int
			own, etcd func(*Store, uint64) error
		}{
			{"update", 64, update, putOne}, {"update/alone", 1, update, putOne},
			{"view", 32 * servers, view, getOne}, {"view/alone", 1, view, getOne},
		} {
			b.Run(fmt.Sprintf("%s/servers=%d", work.name, servers), func(b *testing.B) {
				var n atomic.Uint64
				rate := func(do func(*Store, uint64) error) float64 {
					const span = time.Second
					var wg sync.WaitGroup
					var done atomic.Int64
					for w := range work.workers {
						wg.Go(func() {
							for end := time.Now().Add(span); time.Now().Before(end); done.Add(1) {
								if err := do(stores[w%servers], n.Add(1)); err != nil {
									b.Error(err)
									return
								}
							}
						})
					}
					wg.Wait()
					return float64(done.Load()) / span.Seconds()
				}
				var own, etcd float64
				for b.Loop() {
					own += rate(work.own)
					etcd += rate(work.etcd)
				}
				b.ReportMetric(own/float64(b.N), "own/s")
				b.ReportMetric(etcd/float64(b.N), "etcd/s")
				b.ReportMetric(own/etcd, "ratio")
			})
		}
	}
}
