// Command crash tries to make a server lose, halve or double a change.
//
// It starts the real program, lets many writers and readers work through both
// protocols, ends it with SIGKILL at random moments and at named places of its
// work on files, starts it again, and compares what is there with a model of
// what it had answered. Then it takes the disk away in other ways: full, read
// only, failing. What it looks for is listed in check.go; how a version must
// follow from the one before it is in replay.go.
//
// It knows the program by its command line, its protocols and its audit log
// alone. The program must be built with the tag failpoints; without --program
// that is done first. For a night:
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

// config says how long and how hard to try.
type config struct {
	program  string // the server, built with the tag failpoints
	dir      string // for all that is kept
	seed     uint64
	kills    int           // end after so many, 0 for no limit
	duration time.Duration // end after so long, 0 for no limit
	writers  int
	readers  int
	disk     bool // break the disk too, after the kills
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
	fs.StringVar(&c.dir, "dir", "", "`folder` for data and logs, kept afterwards (default: a new one, kept when something is wrong)")
	fs.Uint64Var(&c.seed, "seed", rand.Uint64(), "`number` that random choices come from")
	fs.IntVar(&c.kills, "kills", 0, "end after so `many` kills (default 40 without --for)")
	fs.DurationVar(&c.duration, "for", 0, "end after this `time`, such as 2h")
	fs.IntVar(&c.writers, "writers", 16, "`number` of writers at a time")
	fs.IntVar(&c.readers, "readers", 12, "`number` of readers at a time")
	fs.BoolVar(&c.disk, "disk", true, "fill and break the disk too")
	fs.BoolVar(&c.verbose, "v", false, "tell of each kill")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q is no flag", fs.Arg(0))
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
			fmt.Fprintf(out, "what was there is left in %s; seed %d\n", c.dir, c.seed)
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

// run kills until the end, breaks the disk, and says what was tried.
func run(ctx context.Context, c config) error {
	fmt.Fprintf(c.out, "seed %d, %d writers, %d readers\n", c.seed, c.writers, c.readers)
	start := time.Now()
	var n counts
	err := runKills(ctx, c, &n)
	if err == nil && c.disk {
		err = runDisk(ctx, c, &n)
	}
	if errors.Is(err, context.Canceled) {
		err = nil // how one ends a long run
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
	return "all is well"
}

// counts are what was tried.
type counts struct {
	kills        int // in all
	atPlaces     int // of these, at a place
	places       map[string]int
	starts       int
	acknowledged int // changes
	reads        int // answered
	refused      int
	unavailable  int // answered 503
	unanswered   int
	unansweredIn int // of these, found to be there
	versions     int // checked
	lines        int // of the audit log, checked
	checks       int
}

func (n *counts) String() string {
	return fmt.Sprintf("%d kills (%d at %d of %d places), %d checks; %d changes acknowledged, %d refused, %d unavailable, %d unanswered (%d of them are there), %d reads; %d versions and %d lines of the audit log checked",
		n.kills, n.atPlaces, len(n.places), len(places()), n.checks, n.acknowledged, n.refused, n.unavailable, n.unanswered, n.unansweredIn, n.reads, n.versions, n.lines)
}
