package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
)

// runKills starts and kills the server until the end of the run.
func runKills(ctx context.Context, c config, n *counts) error {
	if c.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.duration)
		defer cancel()
	}
	w, p, err := newWorld(ctx, c, filepath.Join(c.dir, "kills", "data"), filepath.Join(c.dir, "kills"), n)
	if err != nil {
		return err
	}
	defer w.site.leave()
	plan := planner{random: rand.New(rand.NewPCG(c.seed, 1))}
	for (c.kills == 0 || n.kills < c.kills) && ctx.Err() == nil {
		at, arm := plan.next()
		if p, err = w.life(ctx, p, at, arm); err != nil {
			return fmt.Errorf("life %d, kill at %q: %w", w.site.lives, arm, err)
		}
	}
	// The last check is of a running server, which then stops normally.
	return w.end(context.WithoutCancel(ctx), p)
}

// life runs the workers until the server dies at a place or at a random
// moment. Then it restarts the server, checks it, and returns its process.
func (w *world) life(ctx context.Context, p *process, at place, arm string) (*process, error) {
	if err := w.site.arm(""); err != nil {
		return p, err
	}
	if !at.early {
		if err := w.loadUntilDeath(ctx, p, at, arm); err != nil {
			return p, err
		}
	} else {
		// The server passes such a place when it starts with something to
		// recover, so it dies twice.
		if err := w.loadUntilDeath(ctx, p, place{}, ""); err != nil {
			return p, err
		}
		if err := w.site.arm(arm); err != nil {
			return p, err
		}
	}
	return w.revive(ctx, at)
}

// loadUntilDeath runs the workers until the server is killed.
func (w *world) loadUntilDeath(ctx context.Context, p *process, at place, arm string) error {
	if err := w.site.arm(arm); err != nil {
		return err
	}
	// Counted in answers, not in time: a slow machine tries as much as a fast one.
	answers := 20 + w.random.Int64N(500)
	if arm != "" {
		answers = 3000 // the place is not reached
	}
	w.left.Store(answers)
	w.load(context.WithoutCancel(ctx), p)
	if err := w.found(); err != nil {
		return errors.Join(err, p.kill())
	}
	if err := p.ended(); !errors.Is(err, errKilled) {
		return err
	}
	w.killed(at, arm != "" && w.left.Load() > 0)
	return nil
}

// killed counts a kill.
func (w *world) killed(at place, there bool) {
	w.counts.kills++
	if there {
		w.counts.atPlaces++
		if w.counts.places == nil {
			w.counts.places = map[string]int{}
		}
		w.counts.places[at.name]++
	}
	if w.config.verbose {
		fmt.Fprintf(w.config.out, "kill %d: place %q, reached: %t\n", w.counts.kills, at.name, there)
	}
}

// revive starts the server until it runs and all checks pass. Before each
// start, the program's own tools check what the crash left behind.
func (w *world) revive(ctx context.Context, at place) (*process, error) {
	ctx = context.WithoutCancel(ctx)
	for range 3 {
		if err := w.site.examine(ctx); err != nil {
			return nil, err
		}
		p, err := w.site.start(ctx)
		w.counts.starts++
		if err == nil {
			if err = w.check(ctx, p, false); err == nil {
				return p, nil
			}
		}
		if !errors.Is(err, errKilled) {
			return p, err
		}
		w.killed(at, true)
		if err := w.site.arm(""); err != nil {
			return p, err
		}
	}
	return nil, errors.New("the server keeps being killed")
}

// end stops the server normally and runs the tools.
func (w *world) end(ctx context.Context, p *process) error {
	if err := w.site.arm(""); err != nil {
		return err
	}
	if err := w.check(ctx, p, true); err != nil {
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}
	return w.site.examine(ctx)
}
