package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretGetCommand(r *remote) *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "get NAME…",
		Short: "Print the value of a secret",
		Long: `Print the exact value of a secret, without an added line break. Printing to a terminal
needs --show. With --output json, yaml or env, print names and values, for one or more
secrets; variables have the names that "fluxkeep run" gives them.

If a secret doesn't exist, the command fails with exit status 1.`,
		Example: `  # pass it to a program
  PGPASSWORD=$(fluxkeep secret get db_password) psql

  # show it
  fluxkeep secret get db_password --show

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
			v, _, err := s.Values(cmd.Context(), org.ID, &client.ValuesQuery{Names: names})
			if err != nil {
				return err
			}
			if missing := missingOf(names, v.Secrets); len(missing) > 0 {
				return missingError(missing)
			}
			if r.structured() {
				return r.printValue(cmd, v.Secrets)
			}
			return printValue(cmd.OutOrStdout(), v.Secrets[names[0]])
		},
	}
	cmd.Flags().BoolVar(&show, "show", false, "print the value even on a terminal")
	return cmd
}

func missingOf(names []string, secrets map[string]string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := secrets[n]; return ok })
}

func missingError(names []string) error {
	err := error(&client.Error{
		Status: http.StatusNotFound, Code: client.ErrNotFound,
		Message: fmt.Sprintf("there is no secret %s", some(names, 10)),
	})
	return withHint(err, `"fluxkeep secret list" shows the names that there are`)
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
