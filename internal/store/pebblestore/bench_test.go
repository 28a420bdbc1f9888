package pebblestore

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

const (
	benchSets  = 8
	benchValue = 160
)

// benchKey returns a key shaped like the domain's: a kind and 16 bytes.
func benchKey(dst []byte, n uint64) []byte {
	dst = append(dst[:0], "s/"...)
	dst = binary.BigEndian.AppendUint64(dst, n*0x9e3779b97f4a7c15)
	return binary.BigEndian.AppendUint64(dst, n)
}

// fillStore puts n keys into s.
func fillStore(tb testing.TB, s store.Store, n int) {
	value := make([]byte, benchValue)
	for i := 0; i < n; {
		err := s.Update(context.Background(), func(tx store.Tx) error {
			for end := min(n, i+5000); i < end; i++ {
				binary.LittleEndian.PutUint64(value, rand.Uint64())
				if err := tx.Set(benchKey(nil, uint64(i)), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// cpuPerOp reports CPU time per operation, which is more meaningful than
// elapsed time on a busy machine. Call the function it returns at the end.
func cpuPerOp(b *testing.B) func() {
	start := processorTime(b)
	return func() { b.ReportMetric(float64(processorTime(b)-start)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkView(b *testing.B) {
	const keys = 100_000
	s := mustOpen(b, b.TempDir(), nil)
	fillStore(b, s, keys)
	for _, gets := range []int{0, 1, 8} {
		run := func(next uint64, key []byte) error {
			return s.View(context.Background(), func(r store.Reader) error {
				for i := range gets {
					if _, err := r.Get(benchKey(key, (next+uint64(i)*31)%keys)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		b.Run(fmt.Sprintf("gets=%d", gets), func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			key := make([]byte, 0, 32)
			for n := uint64(0); b.Loop(); n++ {
				if err := run(n, key); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("gets=%d/parallel", gets), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				key := make([]byte, 0, 32)
				for n := rand.Uint64N(keys); pb.Next(); n++ {
					if err := run(n, key); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	b.Run("gets=1/snapshot", func(b *testing.B) { // the engine alone
		b.ReportAllocs()
		defer cpuPerOp(b)()
		e := s.published.Load()
		key := make([]byte, 0, 32)
		for n := uint64(0); b.Loop(); n++ {
			_, c, err := e.snap.Get(benchKey(key, n%keys))
			if err != nil {
				b.Fatal(err)
			}
			_ = c.Close()
		}
	})
}

func BenchmarkScan(b *testing.B) {
	const keys = 100_000
	s := mustOpen(b, b.TempDir(), nil)
	fillStore(b, s, keys)
	for _, n := range []int{1, 100, keys} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			defer cpuPerOp(b)()
			for b.Loop() {
				count := 0
				err := s.View(context.Background(), func(r store.Reader) error {
					return r.Scan([]byte("s/"), []byte("s0"), func(_, _ []byte) (bool, error) {
						count++
						return count < n, nil
					})
				})
				if err != nil || count != n {
					b.Fatalf("%d keys, %v", count, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
		})
	}
}

// BenchmarkUpdateCPU measures the CPU time of a change. Point TMPDIR at an
// in-memory file system to exclude the disk.
func BenchmarkUpdateCPU(b *testing.B) {
	for _, workers := range []int{1, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			s := mustOpen(b, b.TempDir(), nil)
			c := newStoreCommitter(s)
			b.ReportAllocs()
			defer cpuPerOp(b)()
			b.SetParallelism((workers + 1) / 2)
			var w atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				commit := c(w.Add(1))
				for pb.Next() {
					if err := commit(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkCommit compares durable changes with the cheapest possible ones on
// the same disk: with one worker, an append and an fdatasync each; with many,
// appends that share an fdatasync. Because the disk's speed varies, short
// rounds of both alternate, and the median of their ratios is reported.
func BenchmarkCommit(b *testing.B) {
	for _, workers := range []int{1, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			dir := b.TempDir()
			s := mustOpen(b, filepath.Join(dir, "db"), nil)
			base := newSharedLog(b, filepath.Join(dir, "log"))
			var ratios []float64
			var ours, theirs float64
			rounds := 0
			for b.Loop() {
				const round = 250 * time.Millisecond
				t := rate(b, workers, round, base)
				o := rate(b, workers, round, newStoreCommitter(s))
				ours, theirs = ours+o, theirs+t
				ratios = append(ratios, o/t)
				rounds++
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(ours/float64(rounds), "commits/s")
			b.ReportMetric(theirs/float64(rounds), "base/s")
			m := s.Metrics()
			b.ReportMetric(float64(m.Changes)/float64(m.Groups), "commits/group")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rate returns the commits per second of the workers.
func rate(b *testing.B, workers int, d time.Duration, worker func(w uint64) func() error) float64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for w := range workers {
		wg.Go(func() {
			commit := worker(uint64(w))
			for time.Since(start) < d {
				if err := commit(); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}

// newStoreCommitter returns workers that each make changes of benchSets keys.
func newStoreCommitter(s *Store) func(w uint64) func() error {
	return func(w uint64) func() error {
		n := w << 40
		key, value := make([]byte, 0, 32), make([]byte, benchValue)
		binary.LittleEndian.PutUint64(value, w)
		fn := func(tx store.Tx) error {
			for range benchSets {
				if err := tx.Set(benchKey(key, n), value); err != nil {
					return err
				}
				n++
			}
			return nil
		}
		return func() error { return s.Update(context.Background(), fn) }
	}
}

// sharedLog appends records to a file; concurrent callers share a sync.
type sharedLog struct {
	file    vfs.File
	mu      sync.Mutex
	buf     []byte
	waiting []chan error
	wake    chan struct{}
}

func newSharedLog(b *testing.B, path string) func(w uint64) func() error {
	f, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		b.Fatal(err)
	}
	l := &sharedLog{file: f, wake: make(chan struct{}, 1)}
	stop := make(chan struct{})
	b.Cleanup(func() { close(stop); _ = f.Close() })
	go l.run(stop)
	record := make([]byte, benchSets*(benchValue+32))
	return func(uint64) func() error {
		done := make(chan error, 1)
		return func() error {
			l.mu.Lock()
			l.buf = append(l.buf, record...)
			l.waiting = append(l.waiting, done)
			l.mu.Unlock()
			select {
			case l.wake <- struct{}{}:
			default:
			}
			return <-done
		}
	}
}

func (l *sharedLog) run(stop chan struct{}) {
	var buf []byte
	var waiting []chan error
	for {
		select {
		case <-l.wake:
		case <-stop:
			return
		}
		l.mu.Lock()
		buf, l.buf = l.buf, buf[:0]
		waiting, l.waiting = l.waiting, waiting[:0]
		l.mu.Unlock()
		_, err := l.file.Write(buf)
		if err == nil {
			err = l.file.SyncData()
		}
		for _, w := range waiting {
			w <- err
		}
	}
}
