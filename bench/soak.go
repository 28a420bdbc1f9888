package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// soak runs a server under mixed load and checks whether it grows. Sessions
// are short, so that they also end during the run.
func soak(ctx context.Context, b *bench) error {
	s, err := b.startFluxkeep(ctx, few, "--session-length", "30s")
	if err != nil {
		return err
	}
	defer s.stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	loads := s.mixedLoad(b.soak)
	rates := make([]float64, len(loads))
	var all sync.WaitGroup
	for i, t := range loads {
		prepared := b.prepare(t)
		all.Go(func() {
			x, err := b.runBeside(ctx, prepared, b.soak)
			if rates[i] = x.rate; err != nil {
				cancel(err) // stop the others
			}
		})
	}
	points, err := s.watch(ctx, b.soak)
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	total := 0.0
	for _, r := range rates {
		total += r
	}
	b.reportSoak(points, total)
	return nil
}

// mixedLoad sends every kind of request, with pauses, since the number of
// requests matters, not their speed.
func (s *fluxkeep) mixedLoad(d time.Duration) []target {
	signIn := s.target(1, http.MethodPost, "/api/v2/signin", "")
	signIn.header = map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(adminName+":"+s.password))}
	signIn.pause = min(d/4, 1500*time.Millisecond) // an address can sign in once per second
	loads := []target{
		s.listing(16), s.reading(8), s.patching(8),
		document(8, s.api.url, "/v1/secret/data/"+s.org, s.token),
	}
	for i := range loads {
		loads[i].pause = 5 * time.Millisecond
	}
	return append(loads, signIn)
}

// point is a sample of the server's metrics.
type point struct {
	at          time.Duration
	memory      float64 // bytes
	goroutines  float64
	descriptors float64
}

// watch reads the server's metrics for the given time.
func (s *fluxkeep) watch(ctx context.Context, d time.Duration) (points []point, err error) {
	begin := time.Now()
	tick := time.NewTicker(max(d/300, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return points, ctx.Err()
		case <-tick.C:
		}
		at := time.Since(begin)
		if at > d {
			return points, nil
		}
		p, err := s.metrics(ctx)
		if err != nil {
			return points, err
		}
		p.at = at
		points = append(points, p)
	}
}

func (s *fluxkeep) metrics(ctx context.Context) (p point, err error) {
	a, err := fetch(ctx, s.api.url+"/metrics", nil)
	if err != nil {
		return p, err
	}
	return parseMetrics(string(a.Body))
}

func parseMetrics(text string) (p point, err error) {
	fields := map[string]*float64{
		"process_resident_memory_bytes": &p.memory, "go_goroutines": &p.goroutines, "process_open_fds": &p.descriptors,
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if field := fields[name]; field != nil {
			if *field, err = strconv.ParseFloat(value, 64); err != nil {
				return p, fmt.Errorf("metric %s: %w", name, err)
			}
			delete(fields, name)
		}
	}
	for name := range fields {
		return p, fmt.Errorf("the server has no metric %s", name)
	}
	return p, nil
}

// quarter returns the mean of a metric in quarter n of the time, 1 to 4.
func quarter(points []point, n int, of func(point) float64) float64 {
	var xs []float64
	for _, p := range points[len(points)*(n-1)/4 : len(points)*n/4] {
		xs = append(xs, of(p))
	}
	return mean(xs)
}

func (b *bench) reportSoak(points []point, rate float64) {
	whole := func(x float64) string { return number(x) }
	for _, g := range []struct {
		name string
		of   func(point) float64
		show func(float64) string
	}{
		{"memory", func(p point) float64 { return p.memory }, megabytes},
		{"goroutines", func(p point) float64 { return p.goroutines }, whole},
		{"file descriptors", func(p point) float64 { return p.descriptors }, whole},
	} {
		second, last := quarter(points, 2, g.of), quarter(points, 4, g.of)
		b.report.add(row{
			work:   fmt.Sprintf("%v of mixed load, %s: %s", b.soak, perSecond(rate), g.name),
			figure: "last quarter " + g.show(last), against: "second quarter " + g.show(second),
			values: []float64{last / second}, unit: times, goal: atMost(1.1),
		})
	}
	b.report.plot(soakPlots(points)...)
}
