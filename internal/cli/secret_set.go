package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

type secretSet struct {
	r          *remote
	in         input
	name       string
	allowEmpty bool
}

func newSecretSetCommand(r *remote) *cobra.Command {
	c := secretSet{r: r}
	cmd := &cobra.Command{
		Use:     "set NAME | NAME=VALUE… | --name NAME",
		Aliases: []string{"update"},
		Short:   "Set secrets",
		Long: `Create a secret or set its value. The value comes from a hidden prompt or, without a
terminal, from standard input, without the line break at its end. --file uses the exact
content of a file.

NAME=VALUE sets several secrets at once, in one version, but then the shell's history
and the process list show the values. For a name that contains "=", use --name.

A value is UTF-8 text of up to 1 MiB; an empty one needs --allow-empty. A name has 1 to
1,024 bytes.`,
		Example: `  # prompt for the value without showing it
  fluxkeep secret set db_password

  # read the value from another program
  openssl rand -base64 32 | fluxkeep secret set session_key

  # use the exact content of a file
  fluxkeep secret set tls_key --file server.pem

  # values that aren't confidential
  fluxkeep secret set region=eu log_level=info`,
		ValidArgsFunction: onlyFirst(r.completeSecrets),
		RunE:              c.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.name, "name", "", "`name` of the secret, which may contain \"=\"")
	fs.StringVar(&c.in.value, "value", "", "the `value`; it is visible in the process list and the shell's history")
	fs.StringVarP(&c.in.file, "file", "f", "", "`file` with the exact value; \"-\" for standard input")
	fs.BoolVar(&c.allowEmpty, "allow-empty", false, "set an empty value")
	cmd.MarkFlagsMutuallyExclusive("value", "file")
	return cmd
}

func (c *secretSet) run(cmd *cobra.Command, args []string) error {
	c.in.hasValue = cmd.Flags().Changed("value")
	name, secrets, err := c.parse(cmd, args)
	if err != nil {
		return err
	}
	s, org, err := c.r.open(cmd)
	if err != nil {
		return err
	}
	if len(secrets) == 0 {
		value, err := c.in.read(cmd, "Value of "+printable(name), false)
		if err != nil {
			return err
		}
		secrets = map[string]string{name: value}
	}
	names := slices.Sorted(maps.Keys(secrets))
	for _, n := range names {
		switch value := secrets[n]; {
		case !utf8.ValidString(value):
			return withHint(errors.New("the value is not valid UTF-8"), "keep it as text: base64 FILE | fluxkeep secret set NAME")
		case value == "" && !c.allowEmpty:
			return withHint(fmt.Errorf("the value of %s is empty: nothing was set", printable(n)), "add --allow-empty if that is what you want")
		}
	}
	w, err := s.WriteValues(cmd.Context(), org.ID, setAll(secrets), nil)
	if err != nil {
		return err
	}
	list := some(names, 10)
	unchanged := list + " has that value already"
	if len(names) > 1 {
		unchanged = list + " have those values already"
	}
	return c.r.written(cmd, org, w, "Set "+list, unchanged)
}

// parse returns the name of the one secret to set, or all names with their
// values. Its errors don't repeat arguments, which may be values.
func (c *secretSet) parse(cmd *cobra.Command, args []string) (name string, secrets map[string]string, err error) {
	if cmd.Flags().Changed("name") {
		if len(args) > 0 {
			return "", nil, usageError(cmd, errors.New("--name replaces the argument: give only one of them"))
		}
		return c.name, nil, nil
	}
	if len(args) == 0 {
		return "", nil, usageError(cmd, errors.New("an argument is missing"))
	}
	if len(args) == 1 && !strings.Contains(args[0], "=") {
		return args[0], nil, nil
	}
	if c.in.hasValue || c.in.file != "" {
		return "", nil, withHint(errors.New("--value and --file go with one name"), `a name with a "=" in it needs --name`)
	}
	secrets = make(map[string]string, len(args))
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		_, twice := secrets[name]
		switch {
		case !ok:
			return "", nil, withHint(errors.New("set takes one name, or arguments of the form NAME=VALUE"), "to be asked for each value, set one secret at a time")
		case name == "":
			return "", nil, usageError(cmd, errors.New("a name is empty"))
		case twice:
			return "", nil, usageError(cmd, fmt.Errorf("%s is given twice", printable(name)))
		}
		secrets[name] = value
	}
	warn(cmd, "values on the command line stay in the shell's history; leave out =VALUE to be asked for them")
	return "", secrets, nil
}
