package cli

import (
	"github.com/spf13/cobra"
)

func newSecretDeleteCommand(r *remote) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete NAME…",
		Aliases: []string{"rm"},
		Short:   "Delete secrets",
		Long: `Delete secrets, all in one version. A name that is not there is no error. What is
deleted can be brought back with "fluxkeep secret rollback", as long as an earlier
version is kept.

At a terminal it asks first, unless --yes is given.`,
		Example: `  fluxkeep secret delete db_password
  fluxkeep secret delete old_key older_key --yes`,
		Args:              arguments(1, -1),
		ValidArgsFunction: r.completeSecrets,
		RunE: func(cmd *cobra.Command, names []string) error {
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			if err := confirm(cmd, yes, "Delete %s of %s: %s?", count(len(names), "secret"), printable(org.Name), some(names, 10)); err != nil {
				return err
			}
			change := make(map[string]*string, len(names))
			for _, n := range names {
				change[n] = nil
			}
			w, err := s.WriteValues(cmd.Context(), org.ID, change, nil)
			if err != nil {
				return err
			}
			done := "Deleted "
			if len(names) > 1 {
				done = "Deleted what there was of "
			}
			return r.written(cmd, org, w, done+some(names, 10), "There is no secret "+some(names, 10))
		},
	}
	addYes(cmd, &yes)
	return cmd
}
