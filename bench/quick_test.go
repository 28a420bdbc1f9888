package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test program act as a bare server, like main.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && bareServers[os.Args[1]] != nil {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestLoad builds the program and puts it under load.
func TestLoad(t *testing.T) {
	needWrk(t)
	c, err := parseFlags([]string{"-quick"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{config: c, folder: t.TempDir(), progress: t.Output()}
	if err := b.findProgram(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("quick", func(t *testing.T) { testQuick(t, b.fluxkeep) })
	t.Run("refused", func(t *testing.T) { testRefused(t, b) })
	t.Run("changes", func(t *testing.T) { testChanges(t, b) })
}

// testQuick runs everything once, briefly and with few secrets.
func testQuick(t *testing.T, program string) {
	out := t.TempDir()
	var stdout strings.Builder
	args := []string{"-quick", "-soak", "2s", "-out", out, "-dir", t.TempDir(), "-fluxkeep", program}
	if err := run(t.Context(), args, &stdout, t.Output()); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(out, "results.md"))
	if err != nil || string(table) != stdout.String() {
		t.Errorf("%v; the file is\n%s\nthe output is\n%s", err, table, stdout.String())
	}
	for _, want := range []string{
		"meaningless", "list, 32 clients", "KV read", "PATCH, 64 clients", "PATCH, one client", "99th percentile",
		"250 secrets in 5 organizations: list", "start to the first answer", "memory after the whole load",
		"500 secrets in one organization: read of one value", "for each tenfold of names: a list", "2s of mixed load",
		"three servers on etcd: list", "etcd's leader is killed", "import of 50 secrets on etcd", "500 secrets on etcd: start",
		"| OpenBao, in memory, no audit | not measured | program not given |",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is not in the table:\n%s", want, stdout.String())
		}
	}
	var plots []string
	for part := range strings.SplitSeq(stdout.String(), "](") {
		if name, _, ok := strings.Cut(part, ".svg)"); ok {
			plots = append(plots, name+".svg")
		}
	}
	for _, name := range plots {
		svg, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || !strings.HasPrefix(string(svg), "<?xml") || !strings.HasSuffix(strings.TrimSpace(string(svg)), "</svg>") {
			t.Errorf("%s is not a plot: %v, %d bytes", name, err, len(svg))
		}
	}
	if len(plots) < 10 || len(slices.Compact(slices.Sorted(slices.Values(plots)))) != len(plots) {
		t.Errorf("the plots are %v", plots)
	}
}

// A server that refuses requests is fast; that rate must not be reported.
func testRefused(t *testing.T, b *bench) {
	s, err := b.startFluxkeep(t.Context(), few)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	s.token = "wrong"
	for _, target := range []target{s.listing(2), s.reading(2), s.patching(2)} {
		if got, err := b.load(t.Context(), target, b.duration); err == nil || !strings.Contains(err.Error(), "requests failed") {
			t.Errorf("%s %s: %+v, %v", target.method, target.path, got, err)
		}
	}
}

// Each PATCH must change something; otherwise it is not a write.
func testChanges(t *testing.T, b *bench) {
	s, err := b.startFluxkeep(t.Context(), few)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	wrote := 0
	for _, clients := range []int{1, 8, 8} {
		x, err := b.load(t.Context(), s.patching(clients), b.duration)
		if err != nil {
			t.Fatal(err)
		}
		wrote += x.requests
	}
	var history struct{ Versions []struct{ Version int } }
	if err := s.do(t.Context(), "GET", secretsPath(s.org)+"/history", nil, &history); err != nil {
		t.Fatal(err)
	}
	newest := 0
	for _, v := range history.Versions {
		newest = max(newest, v.Version)
	}
	// The organization starts with version 1. Requests that wrk aborted at the
	// end may have been written without being counted.
	if newest < 1+wrote {
		t.Errorf("%d requests made versions up to %d", wrote, newest)
	}
}

// needWrk finds wrk, or installs it on a CI machine.
func needWrk(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped in short mode")
	}
	if _, err := exec.LookPath("wrk"); err == nil {
		return
	}
	if err := installWrk(); err != nil {
		t.Skipf("wrk is not available: %v", err)
	}
}

func installWrk() error {
	if os.Getenv("CI") == "" || os.Geteuid() != 0 {
		return fmt.Errorf("this test installs it only as root with CI set; apt-get install wrk")
	}
	var out []byte
	var err error
	for _, args := range [][]string{{"install", "-y", "--no-install-recommends", "wrk"}, {"update"}, {"install", "-y", "--no-install-recommends", "wrk"}} {
		cmd := exec.Command("apt-get", args...)
		cmd.WaitDelay = 5 * time.Minute
		if out, err = cmd.CombinedOutput(); err == nil && args[0] == "install" {
			return nil
		}
	}
	return fmt.Errorf("apt-get install wrk: %w\n%s", err, out)
}
