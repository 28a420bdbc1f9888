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
that would share a variable are an error, and so is a secret whose variable changes how
programs load or what they run (such as LD_PRELOAD, PATH or BASH_ENV), unless --only
names it without a *. A secret wins over a variable of the same name that is there. INFLUX_TOKEN is taken out of the command's environment, since it
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
	nameServer(cmd, &c.r.server)
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
		return cantRun(process.Exec(path, args, env))
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
