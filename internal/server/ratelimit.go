package server

import (
	"hash/maphash"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rateLimiter limits requests by network, see httpapi.Network.
type rateLimiter struct {
	limit  rate.Limit
	burst  int
	seed   maphash.Seed
	shards [16]limiterShard
}

type limiterShard struct {
	mu      sync.Mutex
	clients map[string]*rate.Limiter
}

// maxLimited limits the networks in one shard.
const maxLimited = 8192

// newRateLimiter allows perSecond requests a second and bursts of twice as many, but
// at least 10, since one client command may make several.
func newRateLimiter(perSecond float64) *rateLimiter {
	l := &rateLimiter{
		limit: rate.Limit(perSecond),
		burst: int(max(10, math.Ceil(2*perSecond))),
		seed:  maphash.MakeSeed(),
	}
	for i := range l.shards {
		l.shards[i].clients = make(map[string]*rate.Limiter)
	}
	return l
}

// wait returns 0 and counts a request, or returns how long the client should
// wait.
func (l *rateLimiter) wait(network string, now time.Time) time.Duration {
	s := &l.shards[maphash.String(l.seed, network)%uint64(len(l.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.clients[network]
	if client == nil {
		s.makeRoom(now)
		client = rate.NewLimiter(l.limit, l.burst)
		s.clients[network] = client
	}
	r := client.ReserveN(now, 1)
	d := r.DelayFrom(now)
	if d > 0 {
		r.CancelAt(now)
	}
	return d
}

// makeRoom first drops limiters with all requests available, which are as good as
// new, and then any: an eighth at a time, so that a flood of new networks doesn't
// cause a full scan each time.
func (s *limiterShard) makeRoom(now time.Time) {
	if len(s.clients) < maxLimited {
		return
	}
	for addr, c := range s.clients {
		if c.TokensAt(now) >= float64(c.Burst()) {
			delete(s.clients, addr)
		}
	}
	for addr := range s.clients {
		if len(s.clients) <= maxLimited-maxLimited/8 {
			return
		}
		delete(s.clients, addr)
	}
}
