//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// passed are the signals that are forwarded to the command.
var passed = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}

// ending are the forwarded signals that are meant to stop a command.
var ending = []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}

// Run runs the command with the environment until it ends, and returns its
// exit status, or 128 plus the number of the signal that killed it. Until then
// it carries out changes. When ctx ends, the command is stopped.
//
// The command has its own process group. When the command ends, other processes
// in the group are stopped too. Run waits for all children of this process,
// because orphans become its children if it is a container's first process.
func (s *Supervisor) Run(ctx context.Context, env []string, changes <-chan Change) (status int, err error) {
	// The kernel sends a child its death signal when the thread that started it
	// ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passed...)
	defer signal.Stop(signals)
	tty := s.terminal()
	for {
		c, err := s.start(env, tty)
		if err != nil {
			return 0, err
		}
		next := s.attend(ctx, c, signals, changes)
		if next == nil {
			return c.status, nil
		}
		env = next.Env
	}
}

// attend waits until the command and its process group have ended. It returns
// a change if the command must be restarted.
func (s *Supervisor) attend(ctx context.Context, c *child, signals <-chan os.Signal, changes <-chan Change) *Change {
	var next *Change
	stopping := false
	var kill <-chan time.Time
	stop := func() {
		if !stopping {
			stopping, kill = true, time.After(s.Grace)
			c.signal(syscall.SIGTERM)
		}
	}
	done := ctx.Done()
	// A signal that is meant to stop the command wins over changes before and after it. If
	// the command goes on nevertheless, so do changes.
	var goesOn <-chan time.Time
	for {
		wanted := changes
		if goesOn != nil {
			wanted = nil
		}
		select {
		case <-c.ended:
			c.sweep(s.Grace)
			return next
		case sig := <-signals:
			if slices.Contains(ending, sig) {
				next, goesOn = nil, time.After(s.Grace)
			}
			c.signal(sig.(syscall.Signal))
		case <-goesOn:
			goesOn = nil
		case change, ok := <-wanted:
			switch {
			case !ok:
				changes = nil
			case change.Signal != nil:
				s.logf("a secret has changed: sending %v to the command", change.Signal)
				c.signal(change.Signal.(syscall.Signal))
			case next != nil || !stopping:
				s.logf("a secret has changed: starting the command again")
				next = &change
				stop()
			}
		case <-done:
			done, next = nil, nil
			stop()
		case <-kill:
			s.logf("the command did not end in %v: killing it", s.Grace)
			c.signalGroup(syscall.SIGKILL)
		}
	}
}

func (s *Supervisor) logf(format string, args ...any) {
	fmt.Fprintf(s.Log, "fluxkeep run: "+format+"\n", args...)
}

// child is the command, once started.
type child struct {
	pid    int
	ended  chan struct{}
	status int // good once ended is closed
}

func (s *Supervisor) start(env []string, tty *terminal) (*child, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	setDeathSignal(attr)
	if tty != nil {
		attr.Foreground, attr.Ctty = true, tty.fd
	}
	p, err := os.StartProcess(s.Path, s.Args, &os.ProcAttr{Env: env, Files: []*os.File{s.Stdin, s.Stdout, s.Stderr}, Sys: attr})
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err
		}
		return nil, fmt.Errorf("run %s: %w", s.Args[0], err)
	}
	c := &child{pid: p.Pid, ended: make(chan struct{})}
	_ = p.Release() // wait below also sees it stop
	go c.wait(tty)
	return c, nil
}

// wait records how the command ends. If it is stopped at the terminal, this
// process stops too; otherwise the shell would keep waiting.
func (c *child) wait(tty *terminal) {
	defer close(c.ended)
	defer tty.take()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			c.status = 1 // not possible: nobody else waits for it
			return
		case pid != c.pid:
		case ws.Stopped():
			if tty != nil {
				tty.take()
				_ = syscall.Kill(0, syscall.SIGSTOP)
				tty.give(c.pid)
				c.signalGroup(syscall.SIGCONT)
			}
		case ws.Signaled():
			c.status = 128 + int(ws.Signal())
			return
		case ws.Exited():
			c.status = ws.ExitStatus()
			return
		}
	}
}

// signal sends a signal to the command itself, which can forward it to its
// children.
func (c *child) signal(sig syscall.Signal) { _ = syscall.Kill(c.pid, sig) }

func (c *child) signalGroup(sig syscall.Signal) { _ = syscall.Kill(-c.pid, sig) }

// sweep stops the processes that the command left in its group. The group's ID
// isn't reused while one of them is alive.
func (c *child) sweep(grace time.Duration) {
	deadline := time.Now().Add(grace)
	c.signalGroup(syscall.SIGTERM)
	for pause := time.Millisecond; syscall.Kill(-c.pid, 0) == nil; pause = min(2*pause, 100*time.Millisecond) {
		_, _ = syscall.Wait4(-c.pid, nil, syscall.WNOHANG, nil)
		if time.Now().After(deadline) {
			c.signalGroup(syscall.SIGKILL)
			return
		}
		time.Sleep(pause)
	}
}

// terminal is the terminal whose foreground the command uses; nil if there is
// none.
type terminal struct {
	fd    int
	group int // this process's own
}

// terminal checks whether this process is in the foreground of a terminal.
func (s *Supervisor) terminal() *terminal {
	t := &terminal{fd: int(s.Stdin.Fd()), group: syscall.Getpgrp()}
	if at, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP); err != nil || at != t.group {
		return nil
	}
	return t
}

// take moves this process's group back to the foreground.
func (t *terminal) take() {
	if t != nil {
		t.foreground(t.group)
	}
}

// give moves the command to the foreground if this process is there.
func (t *terminal) give(group int) {
	if at, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP); err == nil && at == t.group {
		t.foreground(group)
	}
}

func (t *terminal) foreground(group int) {
	// A background process that does this is stopped by SIGTTOU, unless that
	// is ignored.
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group)
}
