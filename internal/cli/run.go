package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/process"
	"github.com/spf13/cobra"
)

// The exit statuses of run itself, the same as those of env, nohup and timeout.
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
		Long: `Run a command with an organization's secrets as environment variables. The variable has
the secret's name: characters other than letters, digits and underscores become
underscores, and a leading digit gets an underscore before it. It is an error if two
secrets would share a variable, or if a variable changes how programs load or what they
run (such as LD_PRELOAD, PATH or BASH_ENV), unless --only names that secret without a *.
A secret overrides an existing variable of the same name. INFLUX_TOKEN is removed from
the command's environment, because it would give the command more than its secrets.

The command replaces this process, and so has its terminal, signals and exit status. If
it can't be started, the exit status is 127 if the command doesn't exist, 126 if it
can't be run, and 125 if the secrets can't be read.

With --watch, the command is supervised instead. When one of its secrets changes,
"--watch restart" stops it with SIGTERM (and after --grace with SIGKILL) and restarts it
with the new values; "--watch signal" sends it the signal given by --signal, and leaves
its environment unchanged. Signals to this process are forwarded. When the command ends,
the other processes in its process group are stopped. The exit status is the command's,
or 128 plus the number of the signal that ended it.`,
		Example: `  # all secrets of the organization
  fluxkeep run -- ./server

  # some of them, as variables that start with TF_VAR_
  fluxkeep run --only 'db_*' --prefix TF_VAR_ -- terraform apply

  # restart when one changes
  fluxkeep run --watch restart -- ./server

  # make nginx reload its configuration
  fluxkeep run --only tls_key --watch signal --signal HUP -- nginx -g 'daemon off;'`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.run(cmd, args)
			if err != nil && !is[*exitError](err) {
				err = &exitError{exitOwn, err}
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // arguments after the command belong to it
	fs.StringSliceVar(&c.only, "only", nil, "`names` of the secrets to pass; * matches any text (default all)")
	fs.StringVar(&c.prefix, "prefix", "", "`text` to put before the variables' names")
	fs.StringVar(&c.watch, "watch", "", "when a secret changes: restart or signal (`action`)")
	fs.StringVar(&c.signal, "signal", "HUP", "`signal` for --watch signal, such as HUP or USR1")
	fs.DurationVar(&c.grace, "grace", 10*time.Second, "`time` for the command to end before it is killed")
	fs.BoolVar(&c.keepToken, "keep-token", false, "leave INFLUX_TOKEN in the command's environment")
	c.r.flags.Add(fs)
	nameServer(cmd, &c.r.server)
	_ = cmd.RegisterFlagCompletionFunc("only", c.r.completeSecrets)
	_ = cmd.RegisterFlagCompletionFunc("org", c.r.completeOrgs)
	_ = cmd.RegisterFlagCompletionFunc("active-config", completeProfiles(&c.r.flags))
	completeValues(cmd, "watch", watchRestart, watchSignal)
	completeValues(cmd, "signal", "HUP", "INT", "TERM", "USR1", "USR2")
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
		return cantRun(process.Exec(path, args, env))
	}
	w := &runWatch{
		runCommand: c, session: s, orgID: org.ID, action: signal,
		warn: func(format string, args ...any) { warn(cmd, "run: "+format, args...) },
	}
	return w.supervise(cmd, path, args, known, env)
}

// check checks the flags and returns the signal for --watch signal.
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
	refused := slices.DeleteFunc(process.Dangerous(c.prefix, secrets), func(name string) bool { return slices.Contains(c.only, name) })
	if len(refused) > 0 {
		return nil, withHint(fmt.Errorf("as variables, these secrets change how programs load or what they run: %s", some(refused, 10)),
			"name them with --only if you mean it, or use --prefix")
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
