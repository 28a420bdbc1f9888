package keep

import (
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"golang.org/x/time/rate"
)

// attemptLimiter slows down guessing: a few attempts at once, then one every few
// seconds, for each subject (a user who signs in or changes the password, a
// token that logs in) and for each address. Subjects are held as keyed hashes.
type attemptLimiter struct {
	mu        sync.Mutex
	subjects  map[record.Hash]*rate.Limiter
	addresses map[string]*rate.Limiter
}

const (
	subjectAttempts = 10
	subjectPace     = 6 * time.Second
	addressAttempts = 50
	addressPace     = time.Second
	maxLimiters     = 10_000
)

func tooMany(what string, wait time.Duration) error {
	return &Error{Code: CodeTooMany, Message: "too many " + what + ", try again later", RetryAfter: wait}
}

func newAttemptLimiter() *attemptLimiter {
	l := &attemptLimiter{}
	l.subjects, l.addresses = make(map[record.Hash]*rate.Limiter), make(map[string]*rate.Limiter)
	return l
}

// wait returns 0 and counts an attempt, or returns how long to wait.
func (l *attemptLimiter) wait(now time.Time, subject record.Hash, address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := limiterFor(l.addresses, address, now, addressPace, addressAttempts)
	if d := take(a, now); d > 0 {
		return d
	}
	return take(limiterFor(l.subjects, subject, now, subjectPace, subjectAttempts), now)
}

// succeeded forgets the attempts for a subject, so that one who signs in often
// is not taken for one who guesses.
func (l *attemptLimiter) succeeded(subject record.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subjects, subject)
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

func take(l *rate.Limiter, now time.Time) time.Duration {
	r := l.ReserveN(now, 1)
	if d := r.DelayFrom(now); d > 0 {
		r.CancelAt(now)
		return d
	}
	return 0
}
