package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal with a program.
type terminal struct {
	t     *testing.T
	human *os.File // the user's end: input and screen
	tty   *os.File
	cmd   *exec.Cmd

	mu   sync.Mutex
	seen bytes.Buffer
}

// startAt runs this test's binary as fluxkeep in a new terminal.
func startAt(t *testing.T, env []string, args ...string) *terminal {
	t.Helper()
	human, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { human.Close() })
	if err := unix.IoctlSetPointerInt(int(human.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(human.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	path, err := exec.LookPath("fluxkeep")
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, human: human, tty: tty, cmd: exec.Command(path, args...)}
	x.cmd.Env = append(os.Environ(), env...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = tty, tty, tty
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.cmd.Process.Kill() })
	go x.look()
	return x
}

func (x *terminal) look() {
	b := make([]byte, 4096)
	for {
		n, err := x.human.Read(b)
		x.mu.Lock()
		x.seen.Write(b[:n])
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen.String()
}

func (x *terminal) await(what string, true func() bool) {
	x.t.Helper()
	for end := time.Now().Add(time.Minute); !true(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("waited for %s; seen: %q", what, x.text())
		}
	}
}

// sees waits until a text appears on the screen for the nth time.
func (x *terminal) sees(text string, n int) {
	x.t.Helper()
	x.await(text, func() bool { return strings.Count(x.text(), text) >= n })
}

func (x *terminal) types(text string) {
	x.t.Helper()
	if _, err := x.human.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) echoes() bool {
	x.t.Helper()
	attr, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return attr.Lflag&unix.ECHO != 0
}

func (x *terminal) ends(status int) {
	x.t.Helper()
	err := x.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		x.t.Fatal(err)
	}
	if got := x.cmd.ProcessState.ExitCode(); got != status {
		x.t.Errorf("ended with %d, want %d; seen: %q", got, status, x.text())
	}
}

// TestHiddenPrompt checks that typed text is invisible, and that an interrupt restores
// the terminal.
func TestHiddenPrompt(t *testing.T) {
	env := []string{"INFLUX_HOST=http://127.0.0.1:1", "INFLUX_TOKEN=t", "INFLUX_ORG_ID=0000000000000001"}
	x := startAt(t, env, "secret", "set", "db_password")
	x.sees("Value of db_password: ", 1)
	x.await("echo off", func() bool { return !x.echoes() })
	x.types("s3cret value\n")
	x.sees("connection refused", 1)
	x.ends(1)
	if !x.echoes() || strings.Contains(x.text(), "s3cret") {
		t.Errorf("echo is %v, seen: %q", x.echoes(), x.text())
	}

	x = startAt(t, env, "secret", "set", "db_password")
	x.sees("Value of db_password: ", 1)
	x.await("echo off", func() bool { return !x.echoes() })
	x.types("s3cr\x03")
	x.sees("fluxkeep: interrupted", 1)
	x.ends(130)
	if !x.echoes() {
		t.Error("the terminal was left without echo")
	}

	x = startAt(t, env, "secret", "set", "db_password")
	x.sees("Value of db_password: ", 1)
	x.await("echo off", func() bool { return !x.echoes() })
	x.types("\x04") // Ctrl-D
	x.sees("fluxkeep: nothing was done", 1)
	x.ends(1)
	if !x.echoes() {
		t.Error("the terminal was left without echo")
	}
}

// TestRunAtTerminal checks that the command of run has the terminal: it reads from it,
// only it gets Ctrl-C, and Ctrl-Z stops both.
func TestRunAtTerminal(t *testing.T) {
	server := newValues(t, map[string]string{"a": "first"})
	env := []string{"INFLUX_HOST=" + server.URL, "INFLUX_TOKEN=t", "INFLUX_ORG_ID=0000000000000001"}
	x := startAt(t, env, "run", "--watch", "restart", "--", "sh", "-c",
		`trap 'echo interrupted; exit 5' INT; echo "started with $a"; while read line; do echo "read $line"; done`)
	x.sees("started with first", 1)
	x.types("a line\n")
	x.sees("read a line", 1)

	server.set("a", "second")
	x.sees("started with second", 1)
	x.types("another\n")
	x.sees("read another", 1)

	x.types("\x1a") // Ctrl-Z
	var ws syscall.WaitStatus
	x.await("the stop", func() bool {
		pid, err := syscall.Wait4(x.cmd.Process.Pid, &ws, syscall.WUNTRACED|syscall.WNOHANG, nil)
		return err == nil && pid == x.cmd.Process.Pid && ws.Stopped()
	})
	if err := x.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	x.types("more\n")
	x.sees("read more", 1)

	x.types("\x03") // Ctrl-C
	x.sees("interrupted", 1)
	x.ends(5)
	if strings.Contains(x.text(), "fluxkeep: interrupted") {
		t.Errorf("the interrupt was taken by more than the command: %q", x.text())
	}
}

func TestIsTerminal(t *testing.T) {
	x := startAt(t, nil, "version")
	x.ends(0)
	if !isTerminal(x.tty) {
		t.Error("a terminal is not taken for one")
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(file) || isTerminal(strings.NewReader("")) || isTerminal(nil) {
		t.Error("a file that isn't a terminal is taken for one")
	}
}

// TestServeAtTerminal: a server tells a person where it is and what to do next.
func TestServeAtTerminal(t *testing.T) {
	home := t.TempDir()
	data := home + "/data"
	x := startAt(t, []string{"HOME=" + home}, "serve", "--http-bind-address", "127.0.0.1:0", "--data-dir", data)
	x.sees("Press Ctrl+C to stop it.", 1)
	for _, want := range []string{
		"Fluxkeep is running at http://localhost:",
		"Data: " + data + ". Key: " + data + "/key.",
		"Next: set it up at http://localhost:",
		"/ui, or from another terminal: fluxkeep setup --host http://localhost:",
	} {
		x.sees(want, 1)
	}
	x.types("\x03")
	x.ends(0)
}
