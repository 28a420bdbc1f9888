package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the command that the arguments of the process name, and returns
// the exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	cmd, err := NewRootCommand().ExecuteContextC(ctx)
	return report(ctx, cmd.ErrOrStderr(), flagGroupError(cmd, err))
}

// report prints a command's error and returns its exit status.
func report(ctx context.Context, w io.Writer, err error) int {
	exit, exits := errors.AsType[*exitError](err)
	switch {
	case err == nil:
		return 0
	case exits && exit.err == nil:
		return exit.status
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(w, "fluxkeep: interrupted")
		return 130
	}
	// Also after a signal: a server that fails to stop cleanly says why.
	printError(w, err)
	if exits {
		return exit.status
	}
	return 1
}

// exitError ends the process with a status, and with a message if there is an
// error too.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// NewRootCommand makes the command line. Each call makes a new one, which
// shares nothing with the others.
func NewRootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "fluxkeep",
		Short: "Secrets server for InfluxDB",
		Long: `Fluxkeep is a secrets server for people who run InfluxDB. It stores secrets encrypted,
versioned and audited. It implements InfluxDB's Secrets API, so the influx CLI and
InfluxDB's client libraries work with it unchanged, and Vault's API, so influxd,
Telegraf and Vault's tools can read from it.

"fluxkeep serve" runs the server. The commands audit verify, audit tail, doctor, restore,
recover, import, key create, key rewrap and cluster accept-restored work on its files.
All others talk to a server. They find its address and the token where the influx CLI
does: in flags, in INFLUX_… variables, or in the active profile of
~/.influxdbv2/configs. Only health has the server's own settings.`,
		Example: `  # run a server, then set it up in another terminal
  fluxkeep serve
  fluxkeep setup --username admin --org acme

  # store a secret and read it
  fluxkeep secret set db_password
  fluxkeep secret get db_password --show

  # run a program with its secrets
  fluxkeep run --only db_password -- psql`,
	},
		newServeCommand(),
		newHealthCommand(),
		newSetupCommand(),
		newLoginCommand(),
		newLogoutCommand(),
		newStatusCommand(),
		newConfigCommand(),
		newSecretCommand(),
		newOrgCommand(),
		newUserCommand(),
		newTokenCommand(),
		newRunCommand(),
		newAuditCommand(),
		newBackupCommand(),
		newRestoreCommand(),
		newImportCommand(),
		newExportCommand(),
		newKeyCommand(),
		newScrubCommand(),
		newClusterCommand(),
		newCompactCommand(),
		newDoctorCommand(),
		newRecoverCommand(),
		newCompletionCommand(),
		newVersionCommand(),
	)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = readVersion().String()
	root.SetVersionTemplate("{{.Version}}\n")
	inOrder(root)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpFunc(showHelp)
	root.SetUsageFunc(showUsage)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, err) })
	return root
}

// inOrder makes help show flags in the order in which they were added, grouped
// by topic, instead of alphabetically.
func inOrder(cmd *cobra.Command) {
	cmd.Flags().SortFlags, cmd.PersistentFlags().SortFlags = false, false
	for _, c := range cmd.Commands() {
		inOrder(c)
	}
}

// group makes a command with subcommands. Alone it shows its help; an unknown
// subcommand is an error.
func group(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(commands...)
	cmd.Use += " COMMAND"
	cmd.DisableFlagsInUseLine = true
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := fmt.Errorf("%q is no command of %q", args[0], cmd.CommandPath())
		cmd.SuggestionsMinimumDistance = 2
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			return withHint(err, "did you mean %s?", strings.Join(like, " or "))
		}
		return usageError(cmd, err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// arguments checks how many arguments there are; most is -1 for any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError(cmd, errors.New("an argument is missing"))
		case most >= 0 && len(args) > most:
			return usageError(cmd, fmt.Errorf("unexpected argument %q", args[most]))
		}
		return nil
	}
}

// usageError points to a command's help.
func usageError(cmd *cobra.Command, err error) error {
	return withHint(err, "usage: %s; more with --help", cmd.UseLine())
}

// flagGroup matches cobra's errors about flags that exclude each other, or of which
// one is required.
var flagGroup = regexp.MustCompile(`^(?:at least one of the flags|if any flags) in the group \[(.*)\] (?:is required|are set none of the others can be; \[(.*)\] were all set)$`)

// flagGroupError says what cobra's error means, in terms of what was typed.
func flagGroupError(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	m := flagGroup.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return err
	case m[2] == "":
		return usageError(cmd, fmt.Errorf("at least one of --%s is required", strings.ReplaceAll(m[1], " ", ", --")))
	}
	return usageError(cmd, fmt.Errorf("--%s can't be given together", strings.ReplaceAll(m[2], " ", " and --")))
}
