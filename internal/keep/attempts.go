package keep

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"golang.org/x/time/rate"
)

// attemptLimiter slows down guessing. Each address, and each subject (a user or a
// token) at each address, may make a few attempts at once and then one every few
// seconds. Successful attempts don't count.
//
// Failed attempts never lock out the right user: other addresses are counted
// separately, and an address where the subject has signed in before waits instead
// of being refused.
type attemptLimiter struct {
	mu        sync.Mutex
	addresses map[string]*rate.Limiter
	subjects  map[attempt]*rate.Limiter
	known     *gencache.Cache[attempt, struct{}] // those that succeeded before
}

// attempt identifies the subject, by its keyed hash, and the address.
type attempt struct {
	subject record.Hash
	address string
}

const (
	subjectAttempts = 10
	subjectPace     = 6 * time.Second
	addressAttempts = 50
	addressPace     = time.Second
	maxLimiters     = 10_000
	// maxTurn is the longest wait of a known address.
	maxTurn = 5 * subjectPace
)

func tooMany(what string, wait time.Duration) error {
	return &Error{Code: CodeTooMany, Message: "too many " + what + ", try again later", RetryAfter: wait}
}

func newAttemptLimiter() *attemptLimiter {
	l := &attemptLimiter{addresses: make(map[string]*rate.Limiter), subjects: make(map[attempt]*rate.Limiter)}
	l.known = gencache.New[attempt, struct{}](maxLimiters)
	return l
}

// take counts an attempt and reports whether it is allowed. If so, wait is how
// long to wait first; if not, when to try again.
func (l *attemptLimiter) take(now time.Time, a attempt) (wait time.Duration, known, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	subject := limiterFor(l.subjects, a, now, subjectPace, subjectAttempts)
	if _, known = l.known.Get(a); known {
		wait, ok = take(subject, now, maxTurn)
		return wait, true, ok
	}
	address := limiterFor(l.addresses, a.address, now, addressPace, addressAttempts)
	if wait, ok = take(address, now, 0); !ok {
		return wait, false, false
	}
	if wait, ok = take(subject, now, 0); !ok {
		address.AllowN(now, -1) // uncount it
	}
	return wait, false, ok
}

// succeeded uncounts a successful attempt and the failed ones before it.
func (l *attemptLimiter) succeeded(now time.Time, a attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if address, ok := l.addresses[a.address]; ok {
		if _, known := l.known.Get(a); !known {
			address.AllowN(now, -1)
		}
	}
	delete(l.subjects, a)
	l.known.Put(a, struct{}{})
}

// attempt counts an attempt at something, such as "sign in". It waits until the
// attempt is allowed and returns the lane for its password, or an error if it is
// refused.
func (k *Keep) attempt(ctx context.Context, a attempt, what string) (*lane, error) {
	wait, known, ok := k.limiter.take(k.now(), a)
	if !ok {
		return nil, tooMany("attempts to "+what, wait)
	}
	l := &k.passwords.strangers
	if known {
		l = &k.passwords.known
	}
	return l, domain(k.sleep(ctx, wait))
}

// limitFailed counts a failed attempt to present a token, which took no password. It
// returns err, or that there were too many attempts.
func (k *Keep) limitFailed(err error, c *Caller, role, what string) error {
	if errors.Is(err, ErrUnauthenticated) {
		if wait, _, ok := k.limiter.take(k.now(), attempt{k.records.Hash("limiter-token", role), c.Origin.network()}); !ok {
			return tooMany("attempts to "+what, wait)
		}
	}
	return err
}

func limiterFor[K comparable](m map[K]*rate.Limiter, k K, now time.Time, pace time.Duration, burst int) *rate.Limiter {
	if l, ok := m[k]; ok {
		return l
	}
	if len(m) >= maxLimiters {
		// A limiter with all attempts available need not be stored.
		for k, l := range m {
			if l.TokensAt(now) >= float64(l.Burst()) {
				delete(m, k)
			}
		}
		for k := range m {
			if len(m) < maxLimiters {
				break
			}
			delete(m, k)
		}
	}
	l := rate.NewLimiter(rate.Every(pace), burst)
	m[k] = l
	return l
}

// take reserves an attempt if it is allowed within limit.
func take(l *rate.Limiter, now time.Time, limit time.Duration) (wait time.Duration, ok bool) {
	r := l.ReserveN(now, 1)
	wait = r.DelayFrom(now)
	if wait > limit {
		r.CancelAt(now)
		return wait - limit, false
	}
	return wait, true
}
