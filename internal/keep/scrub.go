package keep

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Scrubbing compares the stored records with their sums (see package record), to
// find records that are missing and older copies that took the place of others.
// The first pass starts with the server, and another one scrubInterval after the
// last.

const (
	// scrubStart is how long the first pass runs at full speed while the start
	// waits for it. The rest of it runs in the background.
	scrubStart    = 500 * time.Millisecond
	scrubInterval = 6 * time.Hour
	scrubRetry    = time.Minute
	// scrubShare limits the background work to one in so many parts of the time.
	scrubShare = 5
	// scrubStep is the number of records between two looks at the time.
	scrubStep = 256
)

// ScrubStatus says how far the stored data has been verified since the start.
type ScrubStatus struct {
	Running bool
	Done    int       // organizations verified in this pass
	Total   int       // organizations to verify in this pass, 0 while unknown
	Passed  time.Time // when the last pass ended; zero: none has
	Damage  []string  // what is damaged, by kind and IDs
}

// scrub is the state that passes leave.
type scrub struct {
	mu     sync.Mutex
	status ScrubStatus
}

// ScrubStatus returns how far the stored data has been verified. Needs an
// operator.
func (k *Keep) ScrubStatus(ctx context.Context, c Caller) (ScrubStatus, error) {
	rec := c.record("scrub.status", 0)
	if !c.Operator() {
		return ScrubStatus{}, k.recordOutcome(rec, k.now(), ErrNotOperator)
	}
	return k.Scrubbed(), k.recordOutcome(rec, k.now(), nil)
}

// Scrubbed is ScrubStatus for the server's health and metrics.
func (k *Keep) Scrubbed() ScrubStatus {
	k.scrub.mu.Lock()
	defer k.scrub.mu.Unlock()
	return k.scrub.status // Damage is only appended to
}

// startScrub starts the first pass, and waits for it as long as a start may take.
func (k *Keep) startScrub(ctx context.Context) {
	p := &pacer{ctx: ctx, began: time.Now(), fast: time.Now().Add(scrubStart)}
	first := make(chan struct{})
	k.done.Go(func() { k.scrubInBackground(p, sync.OnceFunc(func() { close(first) })) })
	wait := time.NewTimer(scrubStart)
	defer wait.Stop()
	select {
	case <-first:
	case <-wait.C:
	case <-ctx.Done():
	}
}

// scrubInBackground runs pass after pass, and calls tried after each.
func (k *Keep) scrubInBackground(p *pacer, tried func()) {
	last := &scrubPass{}
	for {
		wait := scrubInterval
		next := &scrubPass{keep: k, last: last, suspects: last.suspects}
		if err := next.run(p); err == nil {
			last = next
		} else {
			wait = scrubRetry
			if p.ctx.Err() == nil {
				k.logger.Warn("stored data could not be verified; retrying", "error", err)
			}
		}
		tried()
		if sleep(p.ctx, wait) != nil {
			return
		}
		p.began = time.Now()
	}
}

// pacer slows down work that is done in steps.
type pacer struct {
	ctx   context.Context
	fast  time.Time // until then, work isn't slowed down
	began time.Time // the work since the last pause
	steps int
}

// step is called for each step. It pauses often enough, and returns an error when
// the context has ended.
func (p *pacer) step() error {
	if p.steps++; p.steps%scrubStep != 0 {
		return nil
	}
	now := time.Now()
	if now.Before(p.fast) {
		return p.ctx.Err()
	}
	if p.began.Before(p.fast) {
		p.began = p.fast
	}
	err := sleep(p.ctx, (scrubShare-1)*now.Sub(p.began))
	p.began = time.Now()
	return err
}

// scrubPass is one pass over the stored data. Damage that the last pass found
// stays refused and reported until this one ends.
type scrubPass struct {
	keep     *Keep
	last     *scrubPass
	suspects *record.Suspects
	maps     []ID // organizations whose maps are damaged
	names    []string
}

// run verifies the directory and the heads, and then each map, in transactions of
// their own.
func (s *scrubPass) run(p *pacer) error {
	k := s.keep
	err := s.inspect(p, func(r *record.Reader) error {
		suspects, err := r.VerifySums(func(d *record.DamageError) { s.found(d.What, d.Err) })
		if err == nil {
			s.suspects = suspects
			s.distrust()
		}
		return err
	})
	if err != nil {
		return err
	}
	var orgs []ID
	err = s.inspect(p, func(r *record.Reader) error {
		orgs = orgs[:0]
		return k.maps.Organizations(r, func(org ID) error { orgs = append(orgs, org); return nil })
	})
	if err != nil {
		return err
	}
	for i, org := range orgs {
		k.scrub.report(func(now *ScrubStatus) { now.Running, now.Done, now.Total = true, i, len(orgs) })
		err := s.inspect(p, func(r *record.Reader) error {
			err := secretmap.Verify(r, org)
			if damage := (*record.DamageError)(nil); errors.As(err, &damage) {
				s.found(damage.What, damage.Err)
				s.maps = append(s.maps, org)
				s.distrust()
				return nil
			}
			return err
		})
		if err == nil {
			err = p.step()
		}
		if err != nil {
			return err
		}
	}
	s.last = &scrubPass{}
	s.distrust()
	k.scrub.report(func(now *ScrubStatus) {
		*now = ScrubStatus{Done: len(orgs), Total: len(orgs), Passed: k.now(), Damage: s.names}
	})
	return nil
}

// inspect reads what is stored, trusted or not. The engine finds damage in files
// by itself, and refuses what it can't read; the rest is still verified.
func (s *scrubPass) inspect(p *pacer, fn func(*record.Reader) error) error {
	err := s.keep.records.Inspect(p.ctx, p.step, fn)
	if corrupt := (*store.CorruptError)(nil); errors.As(err, &corrupt) {
		s.found(corrupt.What, corrupt.Err)
		return nil
	}
	return err
}

func (s *scrubPass) found(what string, err error) {
	if !slices.Contains(s.names, what) {
		s.names = append(s.names, what)
		s.keep.reportDamage(what, err)
	}
}

// foundDamage reports damage that a request has found.
func (k *Keep) foundDamage(err error) {
	if damage := (*record.DamageError)(nil); errors.As(err, &damage) {
		k.reportDamage(damage.What, damage.Err)
	}
}

// reportDamage adds to the status, and logs what is new.
func (k *Keep) reportDamage(what string, err error) {
	k.scrub.report(func(now *ScrubStatus) {
		if !slices.Contains(now.Damage, what) {
			now.Damage = append(now.Damage, what)
			k.logger.Error("stored data is damaged", "what", what, "error", err)
		}
	})
}

// distrust makes requests refuse what is damaged.
func (s *scrubPass) distrust() {
	s.keep.records.Distrust(s.suspects, slices.Concat(s.maps, s.last.maps))
	s.keep.directory.ClearCache()
}

func (s *scrub) report(change func(*ScrubStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}
