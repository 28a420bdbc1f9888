package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is a run of the command.
type bench struct {
	*config
	folder   string    // for temporary data
	progress io.Writer // receives progress messages
	serial   int       // number of the load, so that no two write the same values
	report   report
}

// experiment measures some of the goals.
type experiment struct {
	name string
	run  func(context.Context, *bench) error
}

func experiments() []experiment {
	return []experiment{
		{"list", list},
		{"kv", kv},
		{"patch", patch},
		{"tail", tail},
		{"many", many},
		{"growth", growth},
		{"etcd", etcd},
		{"etcdlarge", etcdLarge},
		{"before", before},
	}
}

func experimentNames() (names []string) {
	for _, e := range experiments() {
		names = append(names, e.name)
	}
	return names
}

func (c *config) checkExperiments() error {
	for _, name := range c.only {
		// "none" runs only the soak.
		if name != "none" && !slices.Contains(experimentNames(), name) {
			return fmt.Errorf("unknown experiment %q; known are %s", name, strings.Join(experimentNames(), ", "))
		}
	}
	return nil
}

// measure runs the selected experiments and reports.
func measure(ctx context.Context, c *config, stdout, stderr io.Writer) (err error) {
	b := &bench{config: c, progress: stderr}
	if b.folder, err = os.MkdirTemp(c.dir, "fluxkeep-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	if b.folder, err = filepath.Abs(b.folder); err != nil {
		return err
	}
	if err := b.findProgram(ctx); err != nil {
		return err
	}
	b.report.started = time.Now()
	b.report.machine = b.describe(ctx)
	b.report.quick = c.quick
	if err := b.measureAll(ctx); err != nil {
		return err
	}
	b.report.took = time.Since(b.report.started)
	if err := b.report.write(stdout); err != nil {
		return err
	}
	if c.out == "" {
		return nil
	}
	return b.save()
}

func (b *bench) measureAll(ctx context.Context) error {
	if err := b.measureDisk("before"); err != nil {
		return err
	}
	for _, e := range experiments() {
		if len(b.only) > 0 && !slices.Contains(b.only, e.name) {
			continue
		}
		b.say("%s", e.name)
		if err := e.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	if b.soak > 0 {
		b.say("soak for %v", b.soak)
		if err := soak(ctx, b); err != nil {
			return fmt.Errorf("soak: %w", err)
		}
	}
	return b.measureDisk("after")
}

// findProgram builds the program from the repository that contains this
// module, unless a program is given.
func (b *bench) findProgram(ctx context.Context) (err error) {
	for _, program := range []*string{&b.fluxkeep, &b.before, &b.influxd, &b.bao, &b.etcd} {
		if *program != "" {
			if *program, err = filepath.Abs(*program); err != nil {
				return err
			}
		}
	}
	if b.fluxkeep != "" {
		return nil
	}
	b.say("building fluxkeep")
	b.fluxkeep = filepath.Join(b.folder, "fluxkeep")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.fluxkeep, "./cmd/fluxkeep")
	build.Dir = ".." // the program's module; this command has its own
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build fluxkeep (run this command in its folder, go -C bench run .): %w\n%s", err, out)
	}
	return nil
}

func (b *bench) save() error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.out, "results.md"))
	if err != nil {
		return err
	}
	if err := cmp.Or(b.report.write(f), f.Close()); err != nil {
		return err
	}
	return b.report.savePlots(b.out)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// newFolder creates a folder for one server.
func (b *bench) newFolder(name string) (string, error) {
	return os.MkdirTemp(b.folder, name+"-")
}
