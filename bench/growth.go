package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// growth measures the cost of an organization's size, with servers that differ
// only in that and take turns.
func growth(ctx context.Context, b *bench) error {
	var servers []*sized
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, n := range b.sizes.growth {
		begin := time.Now()
		s, err := b.startFluxkeep(ctx, n)
		if err != nil {
			return err
		}
		z := &sized{fluxkeep: s, names: n}
		servers = append(servers, z)
		b.say("  %s secrets in one organization, set in %s", count(n), span(time.Since(begin).Seconds()))
		if err := z.measureFilled(ctx, b); err != nil {
			return fmt.Errorf("%d names: %w", n, err)
		}
	}
	for round := range b.rounds {
		for _, s := range servers {
			if err := s.measure(ctx, b); err != nil {
				return fmt.Errorf("%d names: %w", s.names, err)
			}
		}
		b.say("  round %d done", round+1)
	}
	b.reportGrowth(servers)
	return nil
}

// sized is a server with one organization of a given number of names, and its
// measurements, one for each round.
type sized struct {
	*fluxkeep
	names int

	// Measured right after filling the organization, so only once:
	filledRead  []float64 // latency with one client, in seconds
	filledPatch []float64 // the slowest PATCH until the fill is pruned, in seconds

	start             []float64 // time to the first answer, in seconds
	firstPatch        []float64 // the first PATCH after a start, in seconds
	readOne, patchOne []float64 // latency with one client, in seconds
	reads, patches    []float64 // rate with many clients, per second
	listTime          []float64 // time to the end of the answer, in seconds
	listFirst         []float64 // time to its first byte, in seconds
	listMemory        []float64 // growth of the server's memory, in bytes; less than a megabyte is not detectable
	memory            []float64 // memory at the end of the round, in bytes
}

// measureFilled measures what a version with many changes costs later
// requests.
func (s *sized) measureFilled(ctx context.Context, b *bench) error {
	read := s.reading(1)
	read.names = s.names
	x, err := b.load(ctx, read, b.growthLoad())
	if err != nil {
		return err
	}
	slowest, err := s.settle(ctx, s.org, s.names)
	s.filledRead, s.filledPatch = []float64{x.mean.Seconds()}, []float64{slowest.Seconds()}
	return err
}

// growthLoad is the duration of each load, shorter because there are many.
func (b *bench) growthLoad() time.Duration { return min(b.duration, 2*time.Second) }

func (s *sized) measure(ctx context.Context, b *bench) error {
	s.stop()
	took, err := s.again(ctx, s.org)
	if err != nil {
		return err
	}
	s.start = append(s.start, took.Seconds())
	begin := time.Now()
	if err := s.fill(ctx, s.org, len(s.start), len(s.start)+1); err != nil { // one more in each round
		return err
	}
	s.firstPatch = append(s.firstPatch, time.Since(begin).Seconds())
	for _, l := range []struct {
		target target
		note   func(sample)
	}{
		{s.reading(1), func(x sample) { s.readOne = append(s.readOne, x.mean.Seconds()) }},
		{s.patching(1), func(x sample) { s.patchOne = append(s.patchOne, x.mean.Seconds()) }},
		{s.reading(readers), func(x sample) { s.reads = append(s.reads, x.rate) }},
		{s.patching(writers), func(x sample) { s.patches = append(s.patches, x.rate) }},
	} {
		l.target.names = s.names
		x, err := b.load(ctx, l.target, b.growthLoad())
		if err != nil {
			return err
		}
		l.note(x)
	}
	if err := s.measureList(ctx); err != nil {
		return err
	}
	m, err := s.process.memory()
	s.memory = append(s.memory, float64(m.resident))
	return err
}

// measureList requests the list with one client that reads as fast as it can.
func (s *sized) measureList(ctx context.Context) error {
	before, err := s.process.memory()
	if err != nil {
		return err
	}
	if err := s.resetPeak(); err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.api.url+secretsPath(s.org), nil)
	if err != nil {
		return err
	}
	q.Header = s.header()
	begin := time.Now()
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("the list returned %s", r.Status)
	}
	first := time.Since(begin)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	s.listTime = append(s.listTime, time.Since(begin).Seconds())
	s.listFirst = append(s.listFirst, first.Seconds())
	after, err := s.process.memory()
	s.listMemory = append(s.listMemory, max(megabyte, float64(after.peak-before.resident)))
	return err
}

// A logarithmic cost at most doubles while names grow from a thousand to a
// million: that is a factor of 1.26 for each tenfold. A linear cost grows
// tenfold; the rest of its bound allows for measurement error.
const (
	logarithmic = 1.26
	linear      = 12
)

func (b *bench) reportGrowth(servers []*sized) {
	least, most := servers[0], servers[len(servers)-1]
	what := count(most.names) + " secrets in one organization"
	versus := func(work string, own, others []float64) row {
		return row{
			work: what + ": " + work, figure: perSecond(median(own)),
			against: count(least.names) + " " + perSecond(median(others)),
			values:  ratios(others, own), unit: times, goal: atMost(2),
		}
	}
	b.report.add(
		versus("read of one value, 32 clients", most.reads, least.reads),
		versus("PATCH of one, 64 clients", most.patches, least.patches),
	)
	for _, g := range []struct {
		work string
		of   func(*sized) []float64
		goal bound
		show func(float64) string
	}{
		{"a PATCH, one client", func(s *sized) []float64 { return s.patchOne }, atMost(logarithmic), span},
		{"a read of one value, one client", func(s *sized) []float64 { return s.readOne }, atMost(logarithmic), span},
		{"start to the first answer", func(s *sized) []float64 { return s.start }, atMost(logarithmic), span},
		{"the first PATCH after a start", func(s *sized) []float64 { return s.firstPatch }, bound{}, span},
		{"a read after a PATCH of all (at most 50,000), one client", func(s *sized) []float64 { return s.filledRead }, bound{}, span},
		{"the slowest PATCH of one until that PATCH is pruned", func(s *sized) []float64 { return s.filledPatch }, bound{}, span},
		{"a list", func(s *sized) []float64 { return s.listTime }, atMost(linear), span},
		{"memory taken by a list", func(s *sized) []float64 { return s.listMemory }, atMost(linear), megabytes},
	} {
		b.report.add(row{
			work:    "growth for each tenfold of names: " + g.work,
			figure:  "with " + count(most.names) + ": " + g.show(median(g.of(most))),
			against: "with " + count(least.names) + ": " + g.show(median(g.of(least))),
			values:  perTenfold(servers, g.of), unit: times, goal: g.goal,
		})
	}
	b.report.note("%s: a list starts after %s; memory at the end of a round %s.", what,
		span(median(most.listFirst)), megabytes(median(most.memory)))
	b.report.plot(growthPlot(servers), listPlot(servers), listMemoryPlot(servers))
}

// perTenfold returns, for each round, the growth factor for ten times the
// names.
func perTenfold(servers []*sized, of func(*sized) []float64) (out []float64) {
	for round := range of(servers[0]) {
		var names, figures []float64
		for _, s := range servers {
			names, figures = append(names, float64(s.names)), append(figures, of(s)[round])
		}
		out = append(out, tenfold(names, figures))
	}
	return out
}
