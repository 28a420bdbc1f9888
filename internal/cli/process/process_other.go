//go:build !unix

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Exec runs the command and ends this process with its exit status, which
// is the closest that this system gets to replacing a process. It returns only
// if the command can't be started.
func Exec(path string, args, env []string) error {
	cmd := &exec.Cmd{Path: path, Args: args, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err == nil || ended {
		os.Exit(cmd.ProcessState.ExitCode())
	}
	return fmt.Errorf("run %s: %w", args[0], err)
}

// Run is not supported: it needs process groups and signals.
func (s *Supervisor) Run(context.Context, []string, <-chan Change) (int, error) {
	return 0, fmt.Errorf("watch over a command: %w", errors.ErrUnsupported)
}

// ParseSignal always fails: this system can't send signals.
func ParseSignal(s string) (os.Signal, error) {
	return nil, fmt.Errorf("send signal %q: %w", s, errors.ErrUnsupported)
}
