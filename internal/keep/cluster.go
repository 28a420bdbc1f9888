package keep

import (
	"context"
	"fmt"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Cluster is what a Keep needs to know of the servers that share its store.
type Cluster interface {
	// Self returns this server's ID, which is the same after a restart.
	Self() ID
	// Running returns the servers that are running.
	Running(ctx context.Context) ([]ID, error)
	// Leads reports whether the work that one server does for all is this one's.
	// It is only a hint: for a moment, several servers may do the work, or none.
	Leads() bool
	// Status returns the state of the cluster, for operators.
	Status(ctx context.Context) (ClusterStatus, error)
	// Follow makes the store tell f what happens to it. It is called once, before
	// the Keep makes a change.
	Follow(f Follower)
}

// Follower is told what the servers that share a store do to it. Its functions don't
// block.
type Follower struct {
	// Now returns the time for a change that this server makes.
	Now func() time.Time
	// Made is called with the time of each change that another server has just
	// made, before a transaction shows it.
	Made func(time.Time)
	// Changed is called with the keys that servers change, this one included, once
	// transactions show it; nil means that any key may have changed.
	Changed func(key []byte)
	// Skew is Keep.ClockSkew.
	Skew func() (ahead time.Duration, known bool)
}

// follow starts to follow what other servers do.
func (k *Keep) follow() {
	if k.cluster == nil {
		return
	}
	k.cluster.Follow(Follower{Now: k.clock.Shared, Made: k.clock.Observe, Skew: k.ClockSkew, Changed: func(key []byte) {
		switch record.TableOf(key) {
		case record.TableHead:
			if org, err := record.IDAt(key, 1); err == nil {
				k.watchers.notify(org)
			}
		case record.TableBackup, record.TableKeyset:
			k.noteShared()
		case 0:
			k.watchers.notifyAll()
			k.noteShared()
		}
	}})
}

// noteShared wakes watchShared.
func (k *Keep) noteShared() {
	select {
	case k.sharedNoted <- struct{}{}:
	default:
	}
}

// watchShared finds out about other servers' backups and keysets. A transaction opens the
// keyset that it sees. An idle server must not leave that to its next request: by then,
// the keyset may be wrapped with a key that it doesn't have.
func (k *Keep) watchShared(ctx context.Context) {
	var again <-chan time.Time // after a failure, but the next change doesn't wait for that
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.sharedNoted:
		case <-again:
		}
		again = nil
		if err := k.resumeLastBackup(ctx); err != nil {
			again = time.After(clusterPeriod)
		}
	}
}

// checkAhead refuses a change while this server's clock is far ahead of the others',
// because its time would count for all of them.
func (k *Keep) checkAhead() error {
	err := k.clock.AheadErr()
	if err == nil {
		return nil
	}
	return &Error{
		Code: CodeUnavailable, Message: "the server's clock is wrong, so it takes no changes",
		Err: fmt.Errorf("%w: %w", store.ErrUnavailable, err),
	}
}

// RequestContext returns the context for a client's request, in which several
// transactions ask only once how new the state must be.
func (k *Keep) RequestContext(ctx context.Context) context.Context {
	if k.store.Exclusive() {
		return ctx
	}
	return store.WithBarrier(ctx)
}

// leads reports whether background work for all servers is this one's.
func (k *Keep) leads() bool { return k.cluster == nil || k.cluster.Leads() }

// self returns this server's ID, 0 if the store is its own.
func (k *Keep) self() ID {
	if k.cluster == nil {
		return 0
	}
	return k.cluster.Self()
}
