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
	s, err := b.startProgram(ctx, b.fluxkeep, few)
	if err != nil {
		return err
	}
	defer s.stop()
	old, err := b.startProgram(ctx, b.before, few)
	if err != nil {
		return err
	}
	defer old.stop()
	for _, w := range []struct {
		work   string
		target func(*fluxkeep) target
	}{
		{"list, 32 clients", func(s *fluxkeep) target { return s.listing(readers) }},
		{"read of one value, 32 clients", func(s *fluxkeep) target { return s.reading(readers) }},
		{"KV read of the document, 32 clients", func(s *fluxkeep) target {
			return document(readers, s.api.url, "/v1/secret/data/"+s.org, s.token)
		}},
		{"durable PATCH, 64 clients", func(s *fluxkeep) target { return s.patching(writers) }},
		{"durable PATCH, one client", func(s *fluxkeep) target { return s.patching(1) }},
	} {
		var own, others []float64 // seconds of processor time for each request
		for round := range b.rounds {
			for _, p := range []struct {
				program *fluxkeep
				times   *[]float64
			}{{s, &own}, {old, &others}} {
				t, err := b.processorTime(ctx, p.program, w.target(p.program))
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
