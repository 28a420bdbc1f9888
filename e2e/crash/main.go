// Command crash tries to make a server lose, halve or duplicate a change.
//
// It starts the real program and lets many writers and readers use both
// protocols. It kills the program with SIGKILL at random moments and at named
// places of its work on files, restarts it, and compares its state with a
// model of its answers. Then it breaks the disk in other ways: full,
// read-only, failing. See check.go for what it verifies, and replay.go for how
// each version must follow from the previous one.
//
// It uses only the program's command line, protocols and audit log. The
// program must be built with the tag failpoints, which this command does
// unless --program is set. For a night:
//
//	go run ./e2e/crash --for 8h
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"
)

// config holds the settings of a run.
type config struct {
	program  string // the server, built with the tag failpoints
	dir      string // for all data
	seed     uint64
	kills    int           // stop after this number, 0 for no limit
	duration time.Duration // stop after this time, 0 for no limit
	writers  int
	readers  int
	disk     bool // also break the disk, after the kills
	verbose  bool
	out      io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) (err error) {
	c := config{out: out}
	fs := flag.NewFlagSet("crash", flag.ContinueOnError)
	fs.StringVar(&c.program, "program", "", "the server's `file`, built with -tags failpoints (default: build it)")
	fs.StringVar(&c.dir, "dir", "", "`folder` for data and logs, preserved afterwards (default: a new one, preserved after a failure)")
	fs.Uint64Var(&c.seed, "seed", rand.Uint64(), "`number` to seed random choices")
	fs.IntVar(&c.kills, "kills", 0, "stop after this `number` of kills (default 40 without --for)")
	fs.DurationVar(&c.duration, "for", 0, "stop after this `time`, such as 2h")
	fs.IntVar(&c.writers, "writers", 16, "`number` of concurrent writers")
	fs.IntVar(&c.readers, "readers", 12, "`number` of concurrent readers")
	fs.BoolVar(&c.disk, "disk", true, "also fill and break the disk")
	fs.BoolVar(&c.verbose, "v", false, "report each kill")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q is not a flag", fs.Arg(0))
	}
	if c.kills == 0 && c.duration == 0 {
		c.kills = 40
	}
	mine := c.dir == ""
	if mine {
		if c.dir, err = os.MkdirTemp("", "fluxkeep-crash-"); err != nil {
			return err
		}
	}
	defer func() {
		switch {
		case err != nil:
			fmt.Fprintf(out, "data and logs are in %s; seed %d\n", c.dir, c.seed)
		case mine:
			err = os.RemoveAll(c.dir)
		}
	}()
	if c.program == "" {
		c.program = filepath.Join(c.dir, "fluxkeep")
		if err := build(ctx, c.program, "failpoints"); err != nil {
			return err
		}
	}
	return run(ctx, c)
}

// build builds the server.
func build(ctx context.Context, to, tags string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-tags", tags, "-o", to, "github.com/fluxkeep/fluxkeep/cmd/fluxkeep")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}

// run kills the server until the end, breaks the disk, and reports what it
// tried.
func run(ctx context.Context, c config) error {
	fmt.Fprintf(c.out, "seed %d, %d writers, %d readers\n", c.seed, c.writers, c.readers)
	start := time.Now()
	var n counts
	err := runKills(ctx, c, &n)
	if err == nil && c.disk {
		err = runDisk(ctx, c, &n)
	}
	if errors.Is(err, context.Canceled) {
		err = nil // the normal end of a long run
	}
	fmt.Fprintf(c.out, "%s after %s: %s\n", verdict(err), time.Since(start).Round(time.Second), &n)
	if c.verbose {
		for _, at := range places() {
			if n.places[at.name] == 0 {
				fmt.Fprintf(c.out, "never killed at %s\n", at.name)
			}
		}
	}
	return err
}

func verdict(err error) string {
	if err != nil {
		return "WRONG"
	}
	return "ok"
}

// counts counts what was tried.
type counts struct {
	kills        int // total
	atPlaces     int // those at a place
	places       map[string]int
	starts       int
	acknowledged int // changes
	reads        int // answered
	refused      int
	unavailable  int // answered 503
	unanswered   int
	unansweredIn int // those that took effect
	versions     int // checked
	lines        int // of the audit log, checked
	checks       int
}

func (n *counts) String() string {
	return fmt.Sprintf("%d kills (%d at %d of %d places), %d checks; %d changes acknowledged, %d refused, %d unavailable, %d unanswered (%d of them took effect), %d reads; %d versions and %d lines of the audit log checked",
		n.kills, n.atPlaces, len(n.places), len(places()), n.checks, n.acknowledged, n.refused, n.unavailable, n.unanswered, n.unansweredIn, n.reads, n.versions, n.lines)
}
