package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/process"
	"github.com/spf13/cobra"
)

// The exit statuses of run itself, as env, nohup and timeout have them.
const (
	exitOwn      = 125 // run has failed
	exitCantRun  = 126 // the command can't be run
	exitNotFound = 127 // there is no such command
)

type runCommand struct {
	r         *remote
	only      []string
	prefix    string
	watch     string
	signal    string
	grace     time.Duration
	keepToken bool
}

func newRunCommand() *cobra.Command {
	c := runCommand{r: &remote{}}
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT…]",
		Short: "Run a command with secrets in its environment",
		Long: `Run a command with an organization's secrets as environment variables. A secret's name
is the variable's name; a character that is no letter, digit or underscore becomes an
underscore, and one that begins with a digit gets an underscore in front. Two secrets
that would share a variable are an error. A secret wins over a variable of the same
name that is there. INFLUX_TOKEN is taken out of the command's environment, since it
would give the command more than its secrets.

The command takes the place of this one: terminal, signals and exit status are its
own. If it can't be started, the exit status is 127 when there is no such command, 126
when it can't be run, and 125 when the secrets can't be read.

With --watch the command is watched over instead. When one of its secrets changes,
"--watch restart" ends it with SIGTERM (and after --grace with SIGKILL) and starts it
again with the new values; "--watch signal" sends it a signal, --signal, and leaves
its environment as it is. Signals that this process gets are passed on. What the
command leaves behind in its process group is ended with it. The exit status is the
command's, 128 and the number of the signal when a signal has ended it.`,
		Example: `  # all secrets of the organization
  fluxkeep run -- ./server

  # some, as variables that begin with TF_VAR_
  fluxkeep run --only 'db_*' --prefix TF_VAR_ -- terraform apply

  # start again when one changes
  fluxkeep run --watch restart -- ./server

  # make nginx read again what it reads
  fluxkeep run --only tls_key --watch signal --signal HUP -- nginx -g 'daemon off;'`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.run(cmd, args)
			var exit *exitError
			if err != nil && !errors.As(err, &exit) {
				err = &exitError{exitOwn, err}
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what follows the command is its own
	fs.StringSliceVar(&c.only, "only", nil, "`names` of the secrets to give, in which * stands for any text (default all)")
	fs.StringVar(&c.prefix, "prefix", "", "`text` that the variables' names begin with")
	fs.StringVar(&c.watch, "watch", "", "when a secret changes: restart or signal (`action`)")
	fs.StringVar(&c.signal, "signal", "HUP", "`signal` for --watch signal, such as HUP or USR1")
	fs.DurationVar(&c.grace, "grace", 10*time.Second, "`time` that the command has to end, before it is killed")
	fs.BoolVar(&c.keepToken, "keep-token", false, "leave INFLUX_TOKEN in the command's environment")
	c.r.flags.Add(fs)
	_ = cmd.RegisterFlagCompletionFunc("only", c.r.completeSecrets)
	_ = cmd.RegisterFlagCompletionFunc("org", c.r.completeOrgs)
	_ = cmd.RegisterFlagCompletionFunc("active-config", c.r.completeProfiles)
	_ = cmd.RegisterFlagCompletionFunc("watch", cobra.FixedCompletions([]string{watchRestart, watchSignal}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("signal", cobra.FixedCompletions([]string{"HUP", "INT", "TERM", "USR1", "USR2"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

const (
	watchRestart = "restart"
	watchSignal  = "signal"
)

func (c *runCommand) run(cmd *cobra.Command, args []string) error {
	signal, err := c.check(cmd)
	if err != nil {
		return err
	}
	path, err := lookPath(args[0])
	if err != nil {
		return err
	}
	s, org, err := c.r.open(cmd)
	if err != nil {
		return err
	}
	known, _, err := s.Values(cmd.Context(), org.ID, &client.ValuesQuery{Names: exact(c.only)})
	if err != nil {
		return err
	}
	env, err := c.environment(known)
	if err != nil {
		return err
	}
	if c.watch == "" {
		return cantRun(process.Become(path, args, env))
	}
	w := &runWatch{
		runCommand: c, session: s, orgID: org.ID, action: signal,
		warn: func(format string, args ...any) { warn(cmd, "run: "+format, args...) },
	}
	return w.supervise(cmd, path, args, known, env)
}

// check checks the flags, and returns the signal if that is what is to be
// done.
func (c *runCommand) check(cmd *cobra.Command) (os.Signal, error) {
	switch c.watch {
	case "", watchRestart:
		if cmd.Flags().Changed("signal") {
			return nil, usageError(cmd, errors.New("--signal goes with --watch signal"))
		}
		return nil, nil
	case watchSignal:
		sig, err := process.ParseSignal(c.signal)
		if err != nil {
			return nil, usageError(cmd, err)
		}
		return sig, nil
	}
	return nil, usageError(cmd, fmt.Errorf("--watch %s: it is restart or signal", c.watch))
}

func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, fs.ErrPermission):
		return "", cantRun(err)
	}
	return "", &exitError{exitNotFound, withHint(fmt.Errorf("there is no command %s", name), "is it installed, and in PATH?")}
}

func cantRun(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitCantRun, err}
}

// environment makes the command's environment.
func (c *runCommand) environment(v client.Values) ([]string, error) {
	secrets, err := chosen(c.only, v.Secrets)
	if err != nil {
		return nil, err
	}
	vars, err := process.Variables(c.prefix, secrets)
	if err != nil {
		return nil, err
	}
	var drop []string
	if !c.keepToken {
		drop = []string{"INFLUX_TOKEN"}
	}
	return process.Environment(os.Environ(), drop, vars), nil
}

// runWatch tells a supervisor when the secrets have changed.
type runWatch struct {
	*runCommand
	session *session
	orgID   string
	action  os.Signal // nil: restart
	warn    func(format string, args ...any)
}

func (w *runWatch) supervise(cmd *cobra.Command, path string, args []string, known client.Values, env []string) error {
	// The signals that end this process's context are the command's to answer.
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
	// calm is how long the secrets have to stay as they are before a change
	// counts: several often change together. calmMost bounds it.
	calm     = 500 * time.Millisecond
	calmMost = 5 * time.Second
	// refusedPause is how long to wait when the server refuses, for instance
	// because the token was deactivated, which may be undone.
	refusedPause = time.Minute
)

// watchValues sends a change for each change of the secrets that makes another
// environment, until ctx ends.
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

// settle waits until no more news comes.
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

// change says what to do about new values; nothing when those of the command
// are the same, or no environment can be made of them.
func (w *runWatch) change(known *client.Values, v client.Values) (process.Change, bool) {
	before, err := chosen(w.only, known.Secrets)
	after, aerr := chosen(w.only, v.Secrets)
	if err == nil && aerr == nil && maps.Equal(before, after) {
		return process.Change{}, false
	}
	env, err := w.environment(v)
	if err != nil {
		w.warn("the secrets have changed, and the command keeps those that it has: %v", err)
		return process.Change{}, false
	}
	*known = v
	return process.Change{Env: env, Signal: w.action}, true
}

// poll sends the values each time that they change. It goes on when the server
// refuses: nothing is gained by ending a command that runs.
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
