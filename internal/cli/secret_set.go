package cli

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func newSecretSetCommand(r *remote) *cobra.Command {
	var in input
	cmd := &cobra.Command{
		Use:     "set NAME",
		Aliases: []string{"update"},
		Short:   "Set a secret",
		Long: `Set a secret to a new value, or add it. The value comes from a hidden prompt or,
when standard input is no terminal, from there, without the line break at its end.
--file takes a file's content exactly as it is.

There can be any value up to 1 MiB that is UTF-8, the empty one too. A name has 1 to
1,024 bytes.`,
		Example: `  # asked for, unseen
  fluxkeep secret set db_password

  # from another program
  openssl rand -base64 32 | fluxkeep secret set session_key

  # from a file, to the byte
  fluxkeep secret set tls_key --file server.pem

  # from the command line, where the list of processes and the history show it
  fluxkeep secret set region --value eu`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeSecrets),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.hasValue = cmd.Flags().Changed("value")
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			value, err := in.read(cmd, "Value of "+printable(args[0]), false)
			if err != nil {
				return err
			}
			if !utf8.ValidString(value) {
				return withHint(errors.New("the value is not valid UTF-8"), "keep it as text: base64 FILE | fluxkeep secret set NAME")
			}
			w, err := s.WriteValues(cmd.Context(), org.ID, map[string]*string{args[0]: &value}, nil)
			if err != nil {
				return err
			}
			return r.written(cmd, org, w, fmt.Sprintf("Set %s", printable(args[0])), printable(args[0])+" has that value already")
		},
	}
	cmd.Flags().StringVar(&in.value, "value", "", "the `value`, which the list of processes and the shell's history then show")
	cmd.Flags().StringVarP(&in.file, "file", "f", "", "`file` with the value, exactly; \"-\" for standard input")
	cmd.MarkFlagsMutuallyExclusive("value", "file")
	return cmd
}
