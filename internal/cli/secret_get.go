package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretGetCommand(r *remote) *cobra.Command {
	var show bool
	var version uint64
	cmd := &cobra.Command{
		Use:   "get NAME…",
		Short: "Print the value of a secret",
		Long: `Print the exact value of a secret, without an added line break. Printing to a terminal
needs --show. With --output json, yaml or env, print names and values, for one or more
secrets; variables have the names that "fluxkeep run" gives them.

--version prints the value that the secret had in an earlier version, as long as that
version, or the secret's own history, has it: see "fluxkeep secret history NAME".

If a secret doesn't exist, the command fails with exit status 1.`,
		Example: `  # pass it to a program
  PGPASSWORD=$(fluxkeep secret get db_password) psql

  # show it
  fluxkeep secret get db_password --show

  # what it was before version 7
  fluxkeep secret get db_password --version 6 --show

  # several at once
  fluxkeep secret get db_user db_password --json | jq -r .db_user

  # as variables for a shell
  eval "$(fluxkeep secret get db_user db_password --output env)"`,
		Annotations:       map[string]string{variables: ""},
		Args:              arguments(1, -1),
		ValidArgsFunction: r.completeSecrets,
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) > 1 && !r.structured() {
				return withHint(errors.New("several values can't be printed as they are"), "add --json or another --output, or see fluxkeep secret export")
			}
			if err := refuseTerminal(cmd, show, "a value"); err != nil {
				return err
			}
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			secrets, err := getSecrets(cmd, s, org, names, version)
			if err != nil {
				return err
			}
			if r.structured() {
				return r.printValue(cmd, secrets)
			}
			return printValue(cmd.OutOrStdout(), secrets[names[0]])
		},
	}
	cmd.Flags().BoolVar(&show, "show", false, "print the value even on a terminal")
	cmd.Flags().Uint64Var(&version, "version", 0, "`number` of the version to read (default: the current one)")
	return cmd
}

// getSecrets reads secrets, which must exist, from a version; 0 is the current one.
func getSecrets(cmd *cobra.Command, s *session, org client.Organization, names []string, version uint64) (map[string]string, error) {
	if version > 0 {
		secrets, err := s.ValuesAt(cmd.Context(), org.ID, version, names...)
		if missing := missingOf(names, secrets); err == nil && len(missing) > 0 {
			err = noValueError(missing[0], version)
		}
		return secrets, err
	}
	v, _, err := s.Values(cmd.Context(), org.ID, &client.ValuesQuery{Names: names})
	if missing := missingOf(names, v.Secrets); err == nil && len(missing) > 0 {
		err = missingError(missing)
	}
	return v.Secrets, err
}

func noValueError(name string, version uint64) error {
	return withHint(fmt.Errorf("version %d has no value of %s, or is no longer stored", version, printable(name)),
		`"fluxkeep secret history NAME" shows the versions in which a secret changed`)
}

func missingOf(names []string, secrets map[string]string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := secrets[n]; return ok })
}

func missingError(names []string) error {
	return withHint(fmt.Errorf("there is no secret %s", some(names, 10)), `"fluxkeep secret list" shows the names that there are`)
}

// printValue prints the exact value. On a terminal it adds a missing line
// break.
func printValue(w io.Writer, value string) error {
	if isTerminal(w) && !strings.HasSuffix(value, "\n") {
		value += "\n"
	}
	_, err := io.WriteString(w, value)
	return err
}
