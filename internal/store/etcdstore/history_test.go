//go:build unix

package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// anyOf is a store that makes each call on any one of several stores that share
// their data: together, they must behave like one. It pauses before each call, so
// that a history lasts long enough for several faults.
type anyOf []*Store

func (a anyOf) pick() *Store { return a[rand.IntN(len(a))] }

func pause() { time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) }

func (a anyOf) View(ctx context.Context, fn func(store.Reader) error) error {
	for {
		pause()
		// The checker takes a View that fails for an error.
		err := a.pick().View(ctx, fn)
		if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, ErrRestored) {
			return err
		}
	}
}

func (a anyOf) Update(ctx context.Context, fn func(store.Tx) error) error {
	pause()
	return a.pick().Update(ctx, fn)
}

func (a anyOf) Exclusive() bool         { return false }
func (a anyOf) Revision(...byte) uint64 { return 0 }
func (a anyOf) Close() error            { return nil }

// A scene is three stores on a cluster, whose connections and members can be
// disturbed.
type scene struct {
	cluster *etcdtest.Cluster
	proxies []etcdtest.Proxies // of each store
	stores  anyOf
	rng     *rand.Rand
}

// A fault disturbs a scene for a while.
type fault struct {
	name string
	// begin returns how to end the fault.
	begin func(s *scene) (end func())
}

func (s *scene) member() *etcdtest.Member {
	return s.cluster.Members[s.rng.IntN(len(s.cluster.Members))]
}

func (s *scene) proxy() *etcdtest.Proxy {
	proxies := s.proxies[s.rng.IntN(len(s.proxies))]
	return proxies[s.rng.IntN(len(proxies))]
}

var faults = []fault{
	{"no fault", func(*scene) func() { return func() {} }},
	{"member killed", func(s *scene) func() { m := s.member(); m.Kill(); return m.Restart }},
	{"member paused", func(s *scene) func() { m := s.member(); m.Pause(); return m.Resume }},
	{"connection cut", func(s *scene) func() { p := s.proxy(); p.Cut(); return p.Mend }},
	{"requests held", func(s *scene) func() { p := s.proxy(); p.HoldRequests(); return p.Mend }},
	{"replies lost", func(s *scene) func() { p := s.proxy(); p.LoseReplies(); return p.Mend }},
	{"server cut off", func(s *scene) func() {
		p := s.proxies[s.rng.IntN(len(s.proxies))]
		p.Cut()
		return p.Mend
	}},
	{"history compacted", func(s *scene) func() {
		st := s.stores.pick()
		st.samples.add(sample{time.Now(), st.newest.Load().revision})
		_ = st.Compact(context.Background(), time.Now())
		return func() {}
	}},
	{"large change", func(s *scene) func() {
		_ = s.stores.pick().Update(context.Background(), func(tx store.Tx) error {
			for i := range maxWrites + 1 {
				if err := tx.Set(fmt.Appendf(nil, "many/%05d", i), []byte("x")); err != nil {
					return err
				}
			}
			// Among the others, a key that the operations use, unchanged.
			v, err := tx.Get([]byte("lin/1"))
			if err != nil {
				return nil
			}
			return tx.Set([]byte("lin/1"), v)
		})
		return func() {}
	}},
	{"copy lost", func(s *scene) func() {
		st := s.stores.pick()
		st.giveUp(st.newest.Load().copy, fmt.Errorf("test"))
		return func() {}
	}},
}

// quick are time limits that a few seconds of faults exceed.
var quick = func() timing {
	t := defaultTiming
	t.attempt, t.patience, t.behind, t.lock = 300*time.Millisecond, 3*time.Second, 300*time.Millisecond, 2*time.Second
	return t
}()

func newScene(t *testing.T, c *etcdtest.Cluster) *scene {
	s := &scene{cluster: c, rng: rand.New(rand.NewPCG(rand.Uint64(), 0))}
	prefix := newPrefix()
	for i := range 3 {
		o := options(t, c, prefix, fmt.Sprintf("s%d", i))
		proxies := c.Proxies(t)
		// Each store prefers another member.
		o.Endpoints = append(proxies.Endpoints()[i:], proxies.Endpoints()[:i]...)
		o.timing = quick
		s.proxies = append(s.proxies, proxies)
		s.stores = append(s.stores, mustOpen(t, o))
	}
	return s
}

// play disturbs the scene with faults until stop is closed.
func (s *scene) play(faults []fault, stop <-chan struct{}) {
	wait := func() bool {
		select {
		case <-stop:
			return false
		case <-time.After(time.Duration(50+s.rng.IntN(800)) * time.Millisecond):
			return true
		}
	}
	for wait() {
		end := faults[s.rng.IntN(len(faults))].begin(s)
		wait()
		end()
	}
}

// checkHistory checks one history while the given faults disturb it.
func checkHistory(t *testing.T, c *etcdtest.Cluster, faults ...fault) {
	s := newScene(t, c)
	stop := make(chan struct{})
	var playing sync.WaitGroup
	playing.Go(func() { s.play(faults, stop) })
	storetest.CheckLinearizable(t, s.stores, 8, 60)
	close(stop)
	playing.Wait()
	s.checkCopies(t)
}

// checkCopies checks that all stores agree in the end, and a new one that loads its
// copy.
func (s *scene) checkCopies(t *testing.T) {
	t.Helper()
	o := options(t, s.cluster, s.stores[0].opts.Prefix, "new")
	var first []storetest.Pair
	for i, st := range append(slices.Clone(s.stores), mustOpen(t, o)) {
		var all []storetest.Pair
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
			err := st.View(t.Context(), func(r store.Reader) error {
				all = nil
				return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
					all = append(all, storetest.Pair{Key: string(k), Value: string(v)})
					return true, nil
				})
			})
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("store %d does not recover: %v", i, err)
			}
		}
		if i == 0 {
			first = all
		} else if !slices.Equal(all, first) {
			t.Errorf("store %d has %d records, and store 0 has %d", i, len(all), len(first))
		}
	}
}

// TestHistories checks histories of three stores with each fault alone (not in short
// mode), and with all of them. FLUXKEEP_ETCD_HISTORIES is a duration to go on for.
func TestHistories(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, etcdtest.Options{Members: 3})
	if !testing.Short() {
		for _, f := range faults {
			t.Run(f.name, func(t *testing.T) { checkHistory(t, c, f) })
		}
	}
	t.Run("mixed", func(t *testing.T) { checkHistory(t, c, faults...) })
	if more := os.Getenv("FLUXKEEP_ETCD_HISTORIES"); more != "" {
		d, err := time.ParseDuration(more)
		if err != nil {
			t.Fatal(err)
		}
		for end, i := time.Now().Add(d), 0; time.Now().Before(end) && !t.Failed(); i++ {
			t.Run(fmt.Sprintf("more/%d", i), func(t *testing.T) { checkHistory(t, c, faults...) })
		}
	}
}
