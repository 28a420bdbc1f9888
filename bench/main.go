// Command bench measures Fluxkeep's speed, compared with the limits of the
// machine and, if their programs are given, with InfluxDB and OpenBao:
//
//	go -C bench run . -out ../docs/performance
//
// It builds the program, serves from temporary folders, loads it with wrk, and
// prints a table of measurements, comparisons and goals. Absolute figures
// depend on the machine, so each goal is a ratio of figures measured in the
// same round, one after the other.
//
// It uses only the program's command line and protocols. Packages have their
// own benchmarks for their parts.
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

// run runs the measurements that the arguments select, or one of the bare
// servers.
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
		return errors.New("wrk is not installed, which generates the load: apt-get install wrk, brew install wrk, or build it from github.com/wg/wrk")
	}
	return measure(ctx, c, stdout, stderr)
}

// config holds the flags.
type config struct {
	out      string // folder for the table and plots, "" for none
	dir      string // folder for the servers' data
	fluxkeep string // paths of programs
	before   string
	influxd  string
	bao      string
	etcd     string
	only     []string
	rounds   int
	duration time.Duration // of each load
	soak     time.Duration
	quick    bool
	sizes    sizes
}

// sizes are the sizes of test data.
type sizes struct {
	few    int   // secrets in the small organization
	orgs   int   // number of organizations with few secrets each
	growth []int // secrets in one organization
}

func parseFlags(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.out, "out", "", "write the table and plots to this `folder`")
	fs.StringVar(&c.dir, "dir", "", "put the data into a new folder in this `folder`, whose disk is measured (default the system's temporary folder)")
	fs.StringVar(&c.fluxkeep, "fluxkeep", "", "measure this `program` (default: build it)")
	fs.StringVar(&c.before, "before", "", "also compare with this older build of the `program`")
	fs.StringVar(&c.influxd, "influxd", "", "also measure this influxd `program`")
	fs.StringVar(&c.bao, "bao", "", "also measure this OpenBao `program`")
	fs.StringVar(&c.etcd, "etcd", "", "use this etcd `program` (default: build it)")
	only := fs.String("only", "", "measure only these `experiments`, separated by commas: "+strings.Join(experimentNames(), ", "))
	fs.IntVar(&c.rounds, "rounds", 5, "`number` of rounds")
	fs.DurationVar(&c.duration, "duration", 4*time.Second, "`time` of each load in a round")
	fs.DurationVar(&c.soak, "soak", 0, "finally, run a server under mixed load for this `time`, such as 10m")
	fs.BoolVar(&c.quick, "quick", false, "check that everything runs: one short round with few secrets; the results are meaningless")
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
