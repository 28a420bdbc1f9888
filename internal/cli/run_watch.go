package cli

import (
	"context"
	"maps"
	"os"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/process"
	"github.com/spf13/cobra"
)

// runWatch tells a supervisor when the secrets have changed.
type runWatch struct {
	*runCommand
	session *session
	orgID   string
	action  os.Signal // nil: restart
	warn    func(format string, args ...any)
}

func (w *runWatch) supervise(cmd *cobra.Command, path string, args []string, known client.Values, env []string) error {
	// Signals that end this process's context are forwarded to the command.
	ctx, cancel := context.WithCancel(context.WithoutCancel(cmd.Context()))
	defer cancel()
	changes := make(chan process.Change)
	go w.watchValues(ctx, known, changes)
	s := &process.Supervisor{
		Path: path, Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Grace: w.grace, Log: cmd.ErrOrStderr(),
	}
	status, err := s.Run(ctx, env, changes)
	if err != nil {
		return cantRun(err)
	}
	if status != 0 {
		return &exitError{status: status}
	}
	return nil
}

const (
	// calm is how long the secrets must stay unchanged before a change counts,
	// because several often change together. calmMost bounds the wait.
	calm     = 500 * time.Millisecond
	calmMost = 5 * time.Second
	// refusedPause is how long to wait after a refusal, for instance because
	// the token was deactivated. It may be activated again.
	refusedPause = time.Minute
)

// watchValues sends a Change whenever the secrets change the environment,
// until ctx ends.
func (w *runWatch) watchValues(ctx context.Context, known client.Values, changes chan<- process.Change) {
	news := make(chan client.Values)
	go w.poll(ctx, known, news)
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-news:
			v = settle(ctx, v, news)
			change, ok := w.change(&known, v)
			if !ok {
				continue
			}
			select {
			case changes <- change:
			case <-ctx.Done():
				return
			}
		}
	}
}

// settle waits until the values stop changing.
func settle(ctx context.Context, v client.Values, news <-chan client.Values) client.Values {
	end := time.After(calmMost)
	for {
		select {
		case v = <-news:
		case <-time.After(calm):
			return v
		case <-end:
			return v
		case <-ctx.Done():
			return v
		}
	}
}

// change returns the change for new values. ok is false if the command already
// has them, or they make no valid environment.
func (w *runWatch) change(known *client.Values, v client.Values) (process.Change, bool) {
	before, err := chosen(w.only, known.Secrets)
	after, aerr := chosen(w.only, v.Secrets)
	if err == nil && aerr == nil && maps.Equal(before, after) {
		return process.Change{}, false
	}
	env, err := w.environment(v)
	if err != nil {
		w.warn("the secrets have changed, but the command keeps its old ones: %v", err)
		return process.Change{}, false
	}
	*known = v
	return process.Change{Env: env, Signal: w.action}, true
}

// poll sends the values whenever they change. It continues after a refusal:
// stopping a running command would help nobody.
func (w *runWatch) poll(ctx context.Context, known client.Values, news chan<- client.Values) {
	failing := false
	o := &client.WatchOptions{
		Names: exact(w.only),
		Failed: func(err error, next time.Duration) {
			if !failing {
				w.warn("the secrets can't be watched now: %v; trying again", err)
			}
			failing = true
		},
		Recovered: func() {
			failing = false
			w.warn("the secrets are watched again")
		},
	}
	for ctx.Err() == nil {
		o.Known = &known
		err := w.session.Watch(ctx, w.orgID, o, func(v client.Values) error {
			known = v
			select {
			case news <- v:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if ctx.Err() != nil {
			return
		}
		o.Failed(err, refusedPause)
		select {
		case <-time.After(refusedPause):
		case <-ctx.Done():
		}
	}
}
