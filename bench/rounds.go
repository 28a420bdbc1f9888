package main

import (
	"context"
	"fmt"
	"time"
)

// contestant takes part in every round.
type contestant struct {
	name   string
	target target
}

// samples are a contestant's results, one per round.
type samples []sample

// inRounds runs all contestants one after the other, repeatedly, so that other
// activity on the machine affects all of them alike. The result is keyed by
// the contestants' names.
func (b *bench) inRounds(ctx context.Context, d time.Duration, cs ...contestant) (map[string]samples, error) {
	for _, c := range cs { // warm up caches, connections and memory
		if _, err := b.load(ctx, c.target, min(d, time.Second)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	all := map[string]samples{}
	for round := range b.rounds {
		line := fmt.Sprintf("  round %d:", round+1)
		for _, c := range cs {
			s, err := b.load(ctx, c.target, d)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[c.name] = append(all[c.name], s)
			line += fmt.Sprintf("  %s %s", c.name, perSecond(s.rate))
		}
		b.say("%s", line)
	}
	return all, nil
}

func (ss samples) each(f func(sample) float64) (out []float64) {
	for _, s := range ss {
		out = append(out, f(s))
	}
	return out
}

func (ss samples) rates() []float64 { return ss.each(func(s sample) float64 { return s.rate }) }
func (ss samples) p99s() []float64 {
	return ss.each(func(s sample) float64 { return s.p99.Seconds() })
}
