// Package e2e tests the program as people use it, together with InfluxDB's command
// line and client libraries, Vault's, Telegraf, Flux, and influxd if it is installed.
// It uses only the program's command line and protocols. The promises of a single
// package are tested in that package.
//
// A test installs what it needs into the user's cache folder. If that fails, it is
// skipped and prints the reason; with FLUXKEEP_E2E=require it fails. With -short,
// nothing is installed.
//
// FLUXKEEP_INFLUX_CLI and FLUXKEEP_INFLUXD are the paths of influx and influxd, which
// no package registry has. Without these variables, they are looked up in PATH.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is the path of the program under test. programWithFaults builds the one whose
// clock can be pushed. TestMain sets them.
var (
	program           string
	programWithFaults func() (path string, err error)
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "vault" {
		os.Exit(vaultGet(os.Args[1:]))
	}
	status, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		status = 1
	}
	os.Exit(status)
}

func buildAndRun(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "fluxkeep-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program = filepath.Join(dir, "fluxkeep")
	if err := build(program, race.Enabled); err != nil {
		return 0, err
	}
	programWithFaults = sync.OnceValues(func() (string, error) {
		path := filepath.Join(dir, "with-faults")
		return path, build(path, race.Enabled, "-tags=failpoints")
	})
	return m.Run(), nil
}

func build(path string, raced bool, flags ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", path}, flags...)
	cgo := "CGO_ENABLED=0"
	if raced {
		// The race detector needs cgo.
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	build := exec.Command("go", append(args, "../cmd/fluxkeep")...)
	build.Env = append(os.Environ(), cgo)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// unraced returns the program without the race detector, which ends a process with more
// than 8128 goroutines, and whose memory would count as the program's.
func unraced(t *testing.T) string {
	t.Helper()
	if !race.Enabled {
		return program
	}
	path := filepath.Join(t.TempDir(), "fluxkeep")
	if err := build(path, false); err != nil {
		t.Fatal(err)
	}
	return path
}

// long skips a test in short mode.
func long(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s; skipped with -short", why)
	}
}

// command prepares a program to run in an environment without settings for this
// machine's InfluxDB, Vault or Fluxkeep. It is killed if the test takes too long.
func command(t testing.TB, home string, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(cleanEnviron(), "HOME="+home,
		// InfluxDB's programs don't use HOME.
		"INFLUX_CONFIGS_PATH="+filepath.Join(home, "configs"),
		"INFLUXD_ENGINE_PATH="+filepath.Join(home, "engine"), "INFLUXD_BOLT_PATH="+filepath.Join(home, "bolt"),
		"INFLUXD_SQLITE_PATH="+filepath.Join(home, "sqlite"),
		"INFLUXD_HTTP_BIND_ADDRESS=127.0.0.1:8086", "INFLUXD_REPORTING_DISABLED=true")
	cmd.Dir = home
	return cmd
}

func cleanEnviron() []string {
	var env []string
	for _, v := range os.Environ() {
		foreign := false
		for _, prefix := range []string{"INFLUX", "FLUXKEEP", "VAULT_", "BAO_", "TELEGRAF_", "HOME=", "XDG_"} {
			foreign = foreign || strings.HasPrefix(v, prefix)
		}
		if !foreign {
			env = append(env, v)
		}
	}
	return env
}

// output runs a command, which must succeed, and returns what it prints.
func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// eventually waits until ok returns true. The machine may be busy, so the limit is
// generous.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout after two minutes: no %s", what)
		}
	}
}
