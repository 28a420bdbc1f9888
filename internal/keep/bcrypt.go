package keep

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"
)

// passwords hashes and compares passwords. That keeps a core busy for a good part
// of a second, so it uses only some of the cores and limits the queue for them.
// Known callers (with a credential, or who signed in from their address before)
// don't wait behind strangers.
type passwords struct {
	cost      int
	dummy     []byte // compared when there is no user, to take as long
	known     lane
	strangers lane
}

const maxWaitingPasswords = 16

func newPasswords(cost int) (*passwords, error) {
	dummy, err := bcrypt.GenerateFromPassword([]byte("no user has this password"), cost)
	if err != nil {
		return nil, fmt.Errorf("hash a password: %w", err)
	}
	p := &passwords{cost: cost, dummy: dummy}
	half := int64(max(1, runtime.GOMAXPROCS(0)/2))
	p.known.cores, p.strangers.cores = semaphore.NewWeighted(half), semaphore.NewWeighted(half)
	return p, nil
}

// lane is a number of cores and the queue for them.
type lane struct {
	cores *semaphore.Weighted
	queue atomic.Int64 // callers in the lane, including waiting ones
}

// run calls fn on one of the cores. If the queue is full, it fails at once.
func (l *lane) run(ctx context.Context, fn func()) error {
	defer l.queue.Add(-1)
	if l.queue.Add(1) > maxWaitingPasswords {
		return tooMany("passwords to check at a time", time.Second)
	}
	if err := l.cores.Acquire(ctx, 1); err != nil {
		return domain(err)
	}
	defer l.cores.Release(1)
	fn()
	return nil
}

func (p *passwords) hash(ctx context.Context, l *lane, password string) (hashed []byte, err error) {
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	if lerr := l.run(ctx, func() { hashed, err = bcrypt.GenerateFromPassword([]byte(password), p.cost) }); lerr != nil {
		return nil, lerr
	}
	return hashed, err
}

// match reports whether a password matches a hash. A mismatch takes the same time
// whatever the cost of the hash, and if there is none.
func (p *passwords) match(ctx context.Context, l *lane, hashed []byte, password string) (right bool, err error) {
	err = l.run(ctx, func() {
		if len(hashed) == 0 {
			_ = bcrypt.CompareHashAndPassword(p.dummy, []byte(password))
			return
		}
		if right = bcrypt.CompareHashAndPassword(hashed, []byte(password)) == nil; right {
			return
		}
		for _, filler := range p.fillers(hashed) {
			_ = bcrypt.CompareHashAndPassword(filler, []byte(password))
		}
	})
	return right, err
}

// MaxPasswordCost is the highest bcrypt cost of an imported password, the one that
// InfluxDB and Fluxkeep use. Each step doubles the time of a sign-in.
const MaxPasswordCost = bcrypt.DefaultCost

// fillers returns hashes that take, together with a cheaper one, as long as one of
// the usual cost. Each step doubles the work, so hashes of cost c, c+1, … d-1 fill
// the gap between costs c and d.
func (p *passwords) fillers(hashed []byte) (fillers [][]byte) {
	cost, err := bcrypt.Cost(hashed)
	if err != nil {
		return [][]byte{p.dummy} // a damaged hash takes no time
	}
	for ; cost < p.cost; cost++ {
		fillers = append(fillers, fmt.Appendf(nil, "%s%02d%s", p.dummy[:4], cost, p.dummy[6:])) // $2a$CC$…
	}
	return fillers
}

// checkPassword also applies to a password that matched: bcrypt reads at most 72
// bytes, so it accepts a longer one that starts with them.
func checkPassword(password string) error {
	if len(password) < 8 || len(password) > 72 {
		return errorf(CodeInvalid, "passwords must be between 8 and 72 characters long")
	}
	return nil
}

// passwordOf returns the hash of a user's password, nil if there is no such user
// or password.
func (k *Keep) passwordOf(ctx context.Context, id ID) (hashed []byte, err error) {
	err = k.readUnaudited(ctx, func(v *view) error {
		a, err := v.dir.Account(id)
		if errors.Is(err, ErrUserNotFound) {
			return nil
		}
		hashed = a.Password
		return err
	})
	return hashed, domain(err)
}
