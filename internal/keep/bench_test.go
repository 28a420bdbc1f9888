package keep_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// The parts of a request that are the domain's: who asks, and the work.

func BenchmarkAuthenticate(b *testing.B) {
	k := keeptest.New(b, nil)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := k.Authenticate(b.Context(), keeptest.Origin(keep.InfluxDB), k.OperatorToken); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkSecretNames(b *testing.B) {
	for _, n := range []int{11, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k, op := filled(b, n)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := k.SecretNames(b.Context(), op, k.Org); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkDocument(b *testing.B) {
	k, op := filled(b, 11)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := k.Document(b.Context(), op, k.Org, 0); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkChange(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			k, op := filled(b, 11)
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(writers)
			run := func() error {
				i := n.Add(1)
				_, err := k.Change(b.Context(), op, k.Org, set(fmt.Sprint("n", i%11), fmt.Sprint("value ", i)))
				return err
			}
			if writers == 1 {
				for b.Loop() {
					if err := run(); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := run(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func filled(b *testing.B, n int) (*keeptest.Kit, keep.Caller) {
	k := keeptest.New(b, nil)
	ch := keep.Change{Set: map[string]string{}}
	for i := range n {
		ch.Set[fmt.Sprint("n", i)] = fmt.Sprint("value ", i)
	}
	k.MustChange(b, ch)
	return k, k.Operator(b, keep.InfluxDB)
}
