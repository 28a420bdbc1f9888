package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// many compares a server that has many organizations with one that has a
// single organization of the same size. Requests go to all organizations, so
// that caches do not help.
func many(ctx context.Context, b *bench) error {
	small, err := b.startFluxkeep(ctx, b.sizes.few)
	if err != nil {
		return err
	}
	defer small.stop()
	if _, err := small.settle(ctx, small.org, b.sizes.few); err != nil {
		return err
	}
	large, err := b.startFluxkeep(ctx, b.sizes.few)
	if err != nil {
		return err
	}
	defer func() { large.stop() }()
	begin := time.Now()
	orgs, err := b.addOrganizations(ctx, large)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s secrets in %s organizations", count(b.sizes.few*len(orgs)), count(len(orgs)))
	took := time.Since(begin).Seconds()
	filled, err := large.memory()
	if err != nil {
		return err
	}
	b.report.note("%s were set in %s, with 75 more changes in each organization; the server that took them had %s resident then.", what, span(took), megabytes(float64(filled.resident)))
	b.say("  %s, set in %s", what, span(took))

	starts, err := b.startRows(ctx, what, large, orgs)
	if err != nil {
		return err
	}
	loads, memories, err := b.loadRows(ctx, what, small, large, orgs)
	if err != nil {
		return err
	}
	b.report.add(slices.Concat(loads, starts, memories)...)
	return nil
}

// startRows measures how long a server takes to start.
func (b *bench) startRows(ctx context.Context, what string, s *fluxkeep, orgs []string) ([]row, error) {
	starts, err := b.restart(ctx, s)
	if err != nil {
		return nil, err
	}
	crashed, err := b.startAfterCrash(ctx, s, orgs)
	if err != nil {
		return nil, err
	}
	return []row{
		{work: what + ": start to the first answer", figure: span(median(starts)), values: starts, unit: " s", goal: atMost(1)},
		{work: what + ": start after a crash", figure: span(median(crashed)), values: crashed, unit: " s"},
	}, nil
}

// loadRows compares the servers under each kind of load, and measures the
// memory of the large one.
func (b *bench) loadRows(ctx context.Context, what string, small, large *fluxkeep, orgs []string) (loads, memories []row, err error) {
	for i, w := range []struct {
		name   string
		target func(*fluxkeep) target
	}{
		{"list", func(s *fluxkeep) target { return s.listing(readers) }},
		{"read of one value", func(s *fluxkeep) target { return s.reading(readers) }},
		{"PATCH", func(s *fluxkeep) target { return s.patching(writers) }},
	} {
		few, lots := w.target(small), w.target(large)
		few.names, lots.names, lots.orgs = b.sizes.few, b.sizes.few, orgs
		got, err := b.inRounds(ctx, b.duration, contestant{"one organization", few}, contestant{"many", lots})
		if err != nil {
			return nil, nil, err
		}
		r := against(what+": "+w.name, count(b.sizes.few)+" secrets in one", got["many"], got["one organization"], atMost(1.5))
		r.values = ratios(got["one organization"].rates(), got["many"].rates()) // times as long
		loads = append(loads, r)
		if i == 0 {
			m, err := large.memory()
			if err != nil {
				return nil, nil, err
			}
			memories = append(memories, memoryRow(what+": memory after lists of all organizations", m.resident))
		}
	}
	m, err := large.memory()
	if err != nil {
		return nil, nil, err
	}
	b.report.note("%s: memory peaked at %s.", what, megabytes(float64(m.peak)))
	return loads, append(memories, memoryRow(what+": memory after the whole load", m.resident)), nil
}

func memoryRow(work string, bytes int64) row {
	return row{work: work, figure: megabytes(float64(bytes)), values: []float64{float64(bytes) / megabyte}, unit: " MB", goal: atMost(300)}
}

// addOrganizations creates organizations, fills them and lets them settle, a
// few at a time. The result includes the organization that the server already
// has.
func (b *bench) addOrganizations(ctx context.Context, s *fluxkeep) ([]string, error) {
	const atATime = 16 // these share syncs
	orgs := make([]string, b.sizes.orgs)
	errs := make([]error, atATime)
	var all sync.WaitGroup
	for part := range atATime {
		all.Go(func() {
			for i := part; i < len(orgs) && errs[part] == nil; i += atATime {
				orgs[i], errs[part] = b.addOrganization(ctx, s, i)
			}
		})
	}
	all.Wait()
	return orgs, errors.Join(errs...)
}

// addOrganization creates organization number i; the first one already exists.
func (b *bench) addOrganization(ctx context.Context, s *fluxkeep, i int) (org string, err error) {
	if org = s.org; i > 0 {
		if org, err = s.createOrganization(ctx, fmt.Sprintf("org %04d", i)); err != nil {
			return "", err
		}
		if err := s.fill(ctx, org, 0, b.sizes.few); err != nil {
			return "", err
		}
	}
	_, err = s.settle(ctx, org, b.sizes.few)
	return org, err
}

// restart stops and starts a server once per round, and returns the times to
// the first answer.
func (b *bench) restart(ctx context.Context, s *fluxkeep) (seconds []float64, err error) {
	for range b.rounds {
		s.stop()
		took, err := s.again(ctx, s.org)
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, took.Seconds())
	}
	return seconds, nil
}

// startAfterCrash is restart with a kill right after writes, so that the
// server has something to recover.
func (b *bench) startAfterCrash(ctx context.Context, s *fluxkeep, orgs []string) (seconds []float64, err error) {
	for range b.rounds {
		t := s.patching(writers)
		t.orgs, t.names = orgs, b.sizes.few
		if _, err := b.load(ctx, t, min(b.duration, time.Second)); err != nil {
			return nil, err
		}
		s.kill()
		took, err := s.again(ctx, s.org)
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, took.Seconds())
	}
	return seconds, nil
}
