//go:build unix

package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/logtest"
)

// The supervisor waits for all children of its process, so each test runs one in its own
// process: this test's binary, which runs the command in its arguments and reads changes
// as lines from descriptor 3.
const supervise = "FLUXKEEP_TEST_SUPERVISE"

func TestMain(m *testing.M) {
	if os.Getenv(supervise) != "" {
		os.Exit(supervisedMain())
	}
	os.Exit(m.Run())
}

func supervisedMain() int {
	grace, err := time.ParseDuration(os.Getenv(supervise))
	if err != nil {
		panic(err)
	}
	os.Unsetenv(supervise)
	s := &Supervisor{
		Path: "/bin/sh", Args: append([]string{"sh", "-c"}, os.Args[1:]...),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Grace: grace, Log: os.Stderr,
	}
	changes := make(chan Change)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		lines := bufio.NewScanner(os.NewFile(3, "changes"))
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "cancel":
				cancel()
			case line == "signal":
				changes <- Change{Signal: syscall.SIGHUP}
			default:
				changes <- Change{Env: append(os.Environ(), "SECRET="+line)}
			}
		}
	}()
	status, err := s.Run(ctx, append(os.Environ(), "SECRET=first"), changes)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return status
}

type supervised struct {
	t       *testing.T
	cmd     *exec.Cmd
	out     *bufio.Reader
	changes *os.File
	errs    logtest.Log // of the supervisor
}

func start(t *testing.T, grace, script string) *supervised {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &supervised{t: t, cmd: exec.Command(self, script), changes: w}
	s.cmd.Env = append(os.Environ(), supervise+"="+grace)
	s.cmd.ExtraFiles = []*os.File{r}
	s.cmd.Stderr = &s.errs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		_ = s.cmd.Process.Kill()
		_, _ = s.cmd.Process.Wait()
	})
	return s
}

// expect reads the next line of the command's output.
func (s *supervised) expect(want string) {
	s.t.Helper()
	got := s.line()
	if got != want {
		s.t.Fatalf("the command printed %q, want %q; %s", got, want, s.errs.String())
	}
}

func (s *supervised) line() string {
	s.t.Helper()
	line := make(chan string, 1)
	go func() {
		l, _ := s.out.ReadString('\n')
		line <- strings.TrimSuffix(l, "\n")
	}()
	select {
	case l := <-line:
		return l
	case <-time.After(time.Minute):
		s.t.Fatal("the command printed nothing")
		return ""
	}
}

func (s *supervised) change(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.changes, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *supervised) kill(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *supervised) ends(status int) {
	s.t.Helper()
	_, _ = io.Copy(io.Discard, s.out)
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if got := s.cmd.ProcessState.ExitCode(); got != status {
		s.t.Errorf("ended with %d, want %d; %s", got, status, s.errs.String())
	}
}

func TestSupervisorStatus(t *testing.T) {
	for script, status := range map[string]int{
		"exit 0":        0,
		"exit 42":       42,
		"kill -TERM $$": 143,
		"kill -KILL $$": 137,
	} {
		start(t, "1s", script).ends(status)
	}
}

func TestSupervisorPassesSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2} {
		script := fmt.Sprintf("trap 'echo got; exit 7' %d; echo ready; while :; do sleep 0.05; done", int(sig))
		s := start(t, "1m", script)
		s.expect("ready")
		s.kill(sig)
		s.expect("got")
		s.ends(7)
	}
	// A signal that the command doesn't catch ends it.
	s := start(t, "1m", "echo ready; exec sleep 60")
	s.expect("ready")
	s.kill(syscall.SIGTERM)
	s.ends(128 + int(syscall.SIGTERM))
}

func TestSupervisorRestarts(t *testing.T) {
	s := start(t, "1m", `trap 'echo stopped; exit 0' TERM; echo "$SECRET"; while :; do sleep 0.05; done`)
	s.expect("first")
	s.change("second")
	s.expect("stopped")
	s.expect("second")
	s.change("signal") // the command doesn't catch it
	s.ends(128 + int(syscall.SIGHUP))
}

func TestSupervisorSignals(t *testing.T) {
	s := start(t, "1m", `trap 'echo reload' HUP; trap 'exit 3' TERM; echo "$SECRET"; while :; do sleep 0.05; done`)
	s.expect("first")
	s.change("signal")
	s.expect("reload")
	s.change("signal")
	s.expect("reload")
	s.kill(syscall.SIGTERM)
	s.ends(3)
}

func TestSupervisorKills(t *testing.T) {
	s := start(t, "200ms", `trap '' TERM; echo "$SECRET"; while :; do sleep 0.05; done`)
	s.expect("first")
	s.change("second")
	s.expect("second")
	s.change("cancel")
	s.ends(137)
	if !strings.Contains(s.errs.String(), "killing it") {
		t.Errorf("said %q", s.errs.String())
	}
}

// TestSupervisorStopIsFinal checks that a signal to stop wins over a restart.
func TestSupervisorStopIsFinal(t *testing.T) {
	s := start(t, "1m", `trap 'echo stopping' TERM; trap 'exit 4' INT; echo "$SECRET"; while :; do sleep 0.05; done`)
	s.expect("first")
	s.change("second")
	s.expect("stopping")
	s.kill(syscall.SIGINT)
	s.ends(4)

	// Also over one that comes while the command ends.
	s = start(t, "1m", `if [ "$SECRET" = second ]; then exit 5; fi; trap 'echo stopping' TERM; trap 'exit 4' USR1; echo "$SECRET"; while :; do sleep 0.05; done`)
	s.expect("first")
	s.kill(syscall.SIGTERM)
	s.expect("stopping")
	s.change("second")
	s.kill(syscall.SIGUSR1)
	s.ends(4)

	// But a command that doesn't end is restarted later.
	s = start(t, "10ms", `trap 'trap "" TERM; echo stays' TERM; echo "$SECRET"; while :; do sleep 0.05; done`)
	s.expect("first")
	s.kill(syscall.SIGTERM)
	s.expect("stays")
	s.change("second")
	s.expect("second")
	s.kill(syscall.SIGKILL)
}

// TestSupervisorLeavesNothing checks that the command's children end with it, even if the
// supervisor is killed.
func TestSupervisorLeavesNothing(t *testing.T) {
	for name, end := range map[string]struct {
		script string
		do     func(*supervised)
	}{
		"the command ends":     {"sleep 60 & echo $!", func(s *supervised) { s.ends(0) }},
		"restart":              {`if [ "$SECRET" = second ]; then exit 5; fi; sleep 60 & echo $!; wait`, func(s *supervised) { s.change("second"); s.ends(5) }},
		"ignores SIGTERM":      {"(trap '' TERM; exec sleep 60) & echo $!", func(s *supervised) { s.ends(0) }},
		"supervisor is killed": {"echo $$; exec sleep 60", func(s *supervised) { s.kill(syscall.SIGKILL) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "300ms", end.script)
			pid, err := strconv.Atoi(s.line())
			if err != nil {
				t.Fatal(err)
			}
			end.do(s)
			for deadline := time.Now().Add(time.Minute); alive(pid); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Fatal("it goes on")
				}
			}
		})
	}
}

// alive reports whether a process runs. A zombie doesn't.
func alive(pid int) bool {
	if stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat")); err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(rest, "Z")
	}
	return syscall.Kill(pid, 0) == nil
}

func TestSupervisorCantStart(t *testing.T) {
	s := &Supervisor{Path: filepath.Join(t.TempDir(), "none"), Args: []string{"none"}, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Log: io.Discard}
	if _, err := s.Run(t.Context(), nil, nil); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "run none") {
		t.Errorf("got %v", err)
	}
}
