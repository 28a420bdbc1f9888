package keep

import (
	"context"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/gencache"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"golang.org/x/time/rate"
)

// attemptLimiter slows down guessing: a few attempts at once, then one every
// few seconds, for each address and for each subject (a user, a token) at each
// address. An attempt that succeeds does not count.
//
// No number of wrong attempts keeps the right user out: other addresses have
// attempts of their own, and an address where the subject has signed in before
// waits for its turn instead of being refused.
type attemptLimiter struct {
	mu        sync.Mutex
	addresses map[string]*rate.Limiter
	subjects  map[attempt]*rate.Limiter
	known     *gencache.Cache[attempt, struct{}] // those that have succeeded
}

// attempt identifies who is tried from where. Subjects are held as keyed
// hashes.
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
	// maxTurn is how long a known address waits for its turn at most.
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

// take counts an attempt, and reports whether it may be made. If so, wait is
// how long to wait first; if not, after which time to try again.
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
		address.AllowN(now, -1) // gives it back
	}
	return wait, false, ok
}

// succeeded takes back an attempt that was right, and forgets the wrong ones
// before it.
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

// attempt counts an attempt at something, such as "sign in". It returns when
// the attempt may be made and the lane for its password, or why it may not.
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

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func limiterFor[K comparable](m map[K]*rate.Limiter, k K, now time.Time, pace time.Duration, burst int) *rate.Limiter {
	if l, ok := m[k]; ok {
		return l
	}
	if len(m) >= maxLimiters {
		// Those who have all their attempts back need no memory.
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

// take reserves an attempt if it can be made within the limit.
func take(l *rate.Limiter, now time.Time, limit time.Duration) (wait time.Duration, ok bool) {
	r := l.ReserveN(now, 1)
	wait = r.DelayFrom(now)
	if wait > limit {
		r.CancelAt(now)
		return wait - limit, false
	}
	return wait, true
}
