package keep_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// The domain's parts of a request: finding the caller, and the operation.

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

// BenchmarkSession measures a session's request on a server with 2,000 tokens of
// other users, after a change of the directory and without one.
func BenchmarkSession(b *testing.B) {
	k := keeptest.New(b, nil)
	op := k.Operator(b, keep.InfluxDB)
	for range 2000 {
		k.MustToken(b, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	}
	u, err := k.CreateUser(b.Context(), op, "user", true)
	if err != nil {
		b.Fatal(err)
	}
	if err := k.SetPassword(b.Context(), op, u.ID, "battery staple 1"); err != nil {
		b.Fatal(err)
	}
	s, err := k.SignIn(b.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "user", "battery staple 1")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"unchanged", "changed"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if name == "changed" {
					b.StopTimer()
					if _, err := k.UpdateUser(b.Context(), op, u.ID, keep.UserUpdate{}); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				if _, err := k.AuthenticateSession(b.Context(), keeptest.Origin(keep.InfluxDB), s.Key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
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
