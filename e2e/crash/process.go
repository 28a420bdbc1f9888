package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience limits every wait for the server. It is long because machines can
// be slow, but waiting forever must be an error.
const patience = 2 * time.Minute

// process is one life of the server.
type process struct {
	cmd    *exec.Cmd
	url    string
	log    string // its log file
	exited chan struct{}
	err    error // how it ended; valid after exited is closed
}

// errKilled means that the server died from SIGKILL.
var errKilled = errors.New("the server was killed")

// site is where the server stores its data.
type site struct {
	program string
	dir     string   // the data folder
	run     string   // for the server's logs and the control file
	args    []string // more arguments for the server
	lives   int
	last    *process // the last process that was started
}

// leave kills the server, so that none is left behind after a failure.
func (s *site) leave() {
	if s.last != nil {
		_ = s.last.cmd.Process.Kill() // it may have exited
		<-s.last.exited
	}
}

func (s *site) control() string { return filepath.Join(s.run, "failpoints") }

// arm sets the next failure, "" for none.
func (s *site) arm(text string) error {
	if text == "" {
		if err := os.Remove(s.control()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.WriteFile(s.control()+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(s.control()+".new", s.control())
}

func (s *site) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FLUXKEEP_") && !strings.HasPrefix(v, "INFLUX_") {
			env = append(env, v)
		}
	}
	return append(env, "HOME="+s.run)
}

// start starts the server and waits until it listens. The error is errKilled
// if the server was killed before that.
func (s *site) start(ctx context.Context) (*process, error) {
	s.lives++
	p := &process{log: filepath.Join(s.run, "log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// Small files make the audit log rotate often.
	p.cmd = exec.Command(s.program, append([]string{"serve", "--http-bind-address", "127.0.0.1:0", "--data-dir", s.dir,
		"--log-format", "json", "--audit-max-size", "64KiB"}, s.args...)...)
	p.cmd.Env = append(s.environment(), "FLUXKEEP_FAILPOINTS="+s.control())
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.last = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		if p.url, err = listening(p.log); p.url != "" || err != nil {
			return p, err
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return nil, p.ended()
		case <-timeout:
			return nil, errors.Join(fmt.Errorf("the server is not listening:\n%s", tail(p.log)), p.kill())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), p.kill())
		}
	}
}

// listening returns the address in a log, or "" if it is not there yet.
func listening(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(text) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" {
			return "http://" + entry.Address, nil
		}
	}
	return "", nil
}

// ended returns how the server ended: errKilled, or an unexpected error.
func (p *process) ended() error {
	<-p.exited
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() && st.Signal() == syscall.SIGKILL {
			return errKilled
		}
	}
	return fmt.Errorf("the server exited unexpectedly (%v):\n%s", p.err, tail(p.log))
}

// gone reports whether the server has exited. Callers that lost a connection
// use it; the connection can end slightly earlier.
func (p *process) gone() bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(patience):
		return false
	}
}

// kill kills the server, as a crash would.
func (p *process) kill() error {
	_ = p.cmd.Process.Kill() // it may have exited
	if err := p.ended(); err != nil && !errors.Is(err, errKilled) {
		return err
	}
	return nil
}

// stop stops the server, as an operator would.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		return errors.Join(errors.New("the server does not stop"), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("the server stopped with %w:\n%s", p.err, tail(p.log))
	}
	return nil
}

// tail returns the end of a log file.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}

// examine runs the program's own tools on the data folder while no server has
// it open.
func (s *site) examine(ctx context.Context) error {
	for _, args := range [][]string{{"audit", "verify"}, {"doctor"}} {
		cmd := exec.CommandContext(ctx, s.program, append(args, "--data-dir", s.dir)...)
		cmd.Env = s.environment()
		if out, err := cmd.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("fluxkeep %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}
