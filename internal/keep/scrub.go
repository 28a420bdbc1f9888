package keep

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
)

// Scrubbing compares the stored records with the sums that the store has of
// them (see package record), to find what is missing and what was put back
// from an older copy. A pass begins at start and again after scrubInterval.

const (
	// scrubStart is how long a start waits for the first pass. The rest of it
	// is done in the background.
	scrubStart    = 500 * time.Millisecond
	scrubInterval = 6 * time.Hour
	scrubRetry    = time.Minute
	// scrubShare is the part of its time that the background pass works, as
	// one in so many.
	scrubShare = 5
)

// ScrubStatus says how far the stored data has been verified since the start.
type ScrubStatus struct {
	Running bool
	Done    int       // organizations verified in this pass
	Total   int       // organizations to verify in this pass, 0 while it is not known
	Passed  time.Time // when the last pass ended; zero: none has
	Damage  []string  // what was found: kinds and IDs
}

type scrub struct {
	mu     sync.Mutex
	status ScrubStatus
	known  map[string]bool // damage that the log has been told of

	// Of the pass, and used by it alone.
	begun    bool
	orgs     []ID // that are left
	suspects *record.Suspects
	damaged  []ID // organizations whose sums are wrong
	earlier  []ID // those of the pass before
}

// ScrubStatus returns how far the stored data has been verified. Needs an
// operator.
func (k *Keep) ScrubStatus(ctx context.Context, c Caller) (ScrubStatus, error) {
	rec := c.record("scrub.status", 0)
	if !c.Operator() {
		return ScrubStatus{}, k.finish(rec, k.now(), ErrNotOperator)
	}
	return k.Scrubbed(), k.finish(rec, k.now(), nil)
}

// Scrubbed is ScrubStatus for the server's health and metrics.
func (k *Keep) Scrubbed() ScrubStatus {
	k.scrub.mu.Lock()
	defer k.scrub.mu.Unlock()
	s := k.scrub.status
	s.Damage = append([]string(nil), s.Damage...)
	return s
}

// scrubAtStart verifies as much as a start may wait for.
func (k *Keep) scrubAtStart(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, scrubStart)
	defer cancel()
	err := k.scrubPass(limited, func(time.Duration) error { return limited.Err() })
	if err != nil && limited.Err() == nil {
		k.logger.Warn("stored data is not verified yet", "error", err)
	}
}

// scrubInBackground goes on where the start has stopped, and then begins again
// from time to time.
func (k *Keep) scrubInBackground(ctx context.Context) {
	wait := time.Duration(0)
	if !k.Scrubbed().Passed.IsZero() {
		wait = scrubInterval
	}
	for pause(ctx, wait) == nil {
		err := k.scrubPass(ctx, func(worked time.Duration) error { return pause(ctx, (scrubShare-1)*worked) })
		wait = scrubInterval
		if err != nil {
			wait = scrubRetry
			if ctx.Err() == nil {
				k.logger.Warn("stored data is not verified yet", "error", err)
			}
		}
	}
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// scrubPass verifies what the pass has not verified yet, in transactions of
// their own. After each, it calls rest with the time that it took.
func (k *Keep) scrubPass(ctx context.Context, rest func(worked time.Duration) error) error {
	s := &k.scrub
	for {
		began := time.Now()
		more, err := k.scrubStep(ctx)
		if err != nil || !more {
			return err
		}
		s.mu.Lock()
		s.status.Running, s.status.Done = true, s.status.Total-len(s.orgs)
		s.mu.Unlock()
		if err := rest(time.Since(began)); err != nil {
			return err
		}
	}
}

// scrubStep verifies the directory and the heads, or one map.
func (k *Keep) scrubStep(ctx context.Context) (more bool, err error) {
	s := &k.scrub
	if !s.begun {
		err := k.records.Inspect(ctx, func(r *record.Reader) (err error) {
			s.orgs, s.damaged = nil, nil
			if s.suspects, err = r.VerifySums(k.foundDamage); err != nil {
				return err
			}
			return k.maps.Organizations(r, func(org ID) error { s.orgs = append(s.orgs, org); return ctx.Err() })
		})
		if err != nil {
			return false, err
		}
		s.begun = true
		s.mu.Lock()
		s.status.Total = len(s.orgs)
		s.mu.Unlock()
		k.distrust()
		return true, nil
	}
	if len(s.orgs) > 0 {
		org := s.orgs[0]
		err := k.records.Inspect(ctx, func(r *record.Reader) error { return secretmap.Verify(r, org) })
		var damage *record.DamageError
		switch {
		case errors.As(err, &damage):
			k.foundDamage(damage)
			s.damaged = append(s.damaged, org)
			k.distrust()
		case err != nil:
			return false, err
		}
		s.orgs = s.orgs[1:]
		return true, nil
	}
	s.begun, s.earlier = false, s.damaged
	k.distrust()
	s.mu.Lock()
	s.status.Running, s.status.Passed = false, k.now()
	s.mu.Unlock()
	return false, nil
}

// foundDamage tells the operator.
func (k *Keep) foundDamage(d *record.DamageError) {
	s := &k.scrub
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known[d.What] {
		s.known[d.What] = true
		s.status.Damage = append(s.status.Damage, d.What)
		k.logger.Error("stored data is damaged", "what", d.What, "error", d.Err)
	}
}

// distrust makes requests refuse what the pass has found. What an earlier pass
// has found stays refused until a whole pass is through.
func (k *Keep) distrust() {
	s := &k.scrub
	k.records.Distrust(s.suspects, append(s.damaged[:len(s.damaged):len(s.damaged)], s.earlier...))
	k.callers.forget()
}
