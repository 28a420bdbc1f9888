// Command bench measures how fast Fluxkeep is, beside what the machine can do
// and beside InfluxDB and OpenBao when their programs are given:
//
//	go -C bench run . -out ../docs/performance
//
// It builds the program, serves from folders of its own, loads it with wrk and
// prints a table: what was measured, against what, and whether the goal is met.
// A figure of a machine is worth little on another, so each goal is a ratio of
// figures that were taken in the same round, one after the other.
//
// Only the program's command line and its protocols are used here. How a part
// of it does alone is told by the benchmarks of that part's package.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures what the arguments say, or is one of the servers to compare
// with.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if serve, ok := bareServers[args[0]]; ok {
			return serveBare(ctx, serve, args[1:])
		}
	}
	c, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is missing, which makes the load: apt-get install wrk, brew install wrk, or build it from github.com/wg/wrk")
	}
	return measure(ctx, c, stdout, stderr)
}

// config is what the flags say.
type config struct {
	out      string // folder for table and plots, "" for none
	dir      string // folder for what the servers keep
	fluxkeep string // programs
	before   string
	influxd  string
	bao      string
	only     []string
	rounds   int
	duration time.Duration // of one load
	soak     time.Duration
	quick    bool
	sizes    sizes
}

// sizes are numbers of things to measure with.
type sizes struct {
	few    int   // secrets of the small organization
	orgs   int   // organizations, each with few secrets
	growth []int // secrets of one organization
}

func parseFlags(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.out, "out", "", "write table and plots into this `folder`")
	fs.StringVar(&c.dir, "dir", "", "serve from a new folder in this `folder`; its disk is what is measured (default the system's temporary folder)")
	fs.StringVar(&c.fluxkeep, "fluxkeep", "", "measure this `program` (default it is built)")
	fs.StringVar(&c.before, "before", "", "compare with this older build of the `program` too")
	fs.StringVar(&c.influxd, "influxd", "", "measure this influxd `program` too")
	fs.StringVar(&c.bao, "bao", "", "measure this OpenBao `program` too")
	only := fs.String("only", "", "measure these `experiments` only, with commas between: "+strings.Join(experimentNames(), ", "))
	fs.IntVar(&c.rounds, "rounds", 5, "`number` of rounds")
	fs.DurationVar(&c.duration, "duration", 4*time.Second, "`time` of each load in a round")
	fs.DurationVar(&c.soak, "soak", 0, "at the end, keep a server under mixed load for this `time`, such as 10m")
	fs.BoolVar(&c.quick, "quick", false, "see that everything runs: one short round with few secrets; the figures mean nothing")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	if *only != "" {
		c.only = strings.Split(*only, ",")
	}
	c.sizes = sizes{few: 1000, orgs: 1000, growth: []int{1_000, 10_000, 100_000, 1_000_000}}
	if c.quick {
		c.rounds, c.duration = 1, 200*time.Millisecond
		c.sizes = sizes{few: 50, orgs: 5, growth: []int{50, 500}}
	}
	if c.rounds < 1 || c.duration <= 0 {
		return nil, errors.New("-rounds and -duration must be positive")
	}
	return c, c.checkExperiments()
}
