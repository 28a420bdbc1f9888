package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// before compares the program with another build of it, so that a change can
// be measured against the state before it. It compares processor time, which
// other work on the machine disturbs less than it does rates.
func before(ctx context.Context, b *bench) (err error) {
	if b.before == "" {
		return nil
	}
	s, orgs, err := b.startForBefore(ctx, b.fluxkeep)
	if err != nil {
		return err
	}
	defer s.stop()
	old, oldOrgs, err := b.startForBefore(ctx, b.before)
	if err != nil {
		return err
	}
	defer old.stop()
	for _, w := range []struct {
		work   string
		target func(*fluxkeep) target
		many   bool // of all organizations
	}{
		{work: "list, 32 clients", target: func(s *fluxkeep) target { return s.listing(readers) }},
		{work: "read of one value, 32 clients", target: func(s *fluxkeep) target { return s.reading(readers) }},
		{work: "KV read of the document, 32 clients", target: func(s *fluxkeep) target {
			return document(readers, s.api.url, "/v1/secret/data/"+s.org, s.token)
		}},
		{work: "durable PATCH, 64 clients", target: func(s *fluxkeep) target { return s.patching(writers) }},
		{work: "durable PATCH, one client", target: func(s *fluxkeep) target { return s.patching(1) }},
		{work: "three lists for each PATCH, 64 clients", target: func(s *fluxkeep) target { return s.mixed(writers) }},
		{work: "read of one value, many organizations", target: func(s *fluxkeep) target { return s.reading(readers) }, many: true},
		{work: "durable PATCH, many organizations", target: func(s *fluxkeep) target { return s.patching(writers) }, many: true},
		{work: "three lists for each PATCH, many organizations", target: func(s *fluxkeep) target { return s.mixed(writers) }, many: true},
	} {
		targets := [2]target{w.target(s), w.target(old)}
		if w.many {
			targets[0].orgs, targets[1].orgs = orgs, oldOrgs
		}
		var own, others []float64 // seconds of processor time for each request
		for round := range b.rounds {
			for i, p := range []struct {
				program *fluxkeep
				times   *[]float64
			}{{s, &own}, {old, &others}} {
				t, err := b.processorTime(ctx, p.program, targets[i])
				if err != nil {
					return err
				}
				*p.times = append(*p.times, t)
			}
			b.say("  round %d:  fluxkeep %s  before %s", round+1, span(own[round]), span(others[round]))
		}
		b.report.add(row{
			work: w.work, figure: span(median(own)) + " of processor time", against: "the program before " + span(median(others)),
			values: ratios(own, others), unit: times, goal: atMost(1.05),
		})
	}
	return nil
}

// manyOrgs is the number of organizations with few secrets in before.
const manyOrgs = 300

// startForBefore starts a build with many organizations.
func (b *bench) startForBefore(ctx context.Context, program string) (*fluxkeep, []string, error) {
	s, err := b.startProgram(ctx, program, few)
	if err != nil {
		return nil, nil, err
	}
	orgs := []string{s.org}
	for len(orgs) < manyOrgs {
		org, err := s.createOrganization(ctx, fmt.Sprintf("org %d", len(orgs)))
		if err == nil {
			err = s.fill(ctx, org, 0, few)
		}
		if err != nil {
			return nil, nil, s.fail(err)
		}
		orgs = append(orgs, org)
	}
	return s, orgs, nil
}

// processorTime loads a server and returns how many seconds of processor time
// it takes for a request.
func (b *bench) processorTime(ctx context.Context, s *fluxkeep, t target) (float64, error) {
	begin, err := s.processorTime()
	if err != nil {
		return 0, err
	}
	got, err := b.load(ctx, t, b.duration)
	if err != nil {
		return 0, err
	}
	end, err := s.processorTime()
	return (end - begin).Seconds() / float64(got.requests), err
}

// processorTime returns how much the process has used.
func (p *process) processorTime() (time.Duration, error) {
	stat, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may have spaces; see proc_pid_stat(5).
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("too few fields in stat of the process")
	}
	var ticks int64
	for _, f := range fields[11:13] { // user and system
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat of the process: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ
}
