package cli

import "github.com/spf13/cobra"

func newCompactCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Purge deleted data from the server's disk",
		Long: `Remove from the server's disk what was deleted, destroyed, overwritten or pruned: it
is encrypted, but its bytes stay in the store's files until those are rewritten. The
command ends when nothing of it is left; the server goes on answering meanwhile. It
needs an operator's token.

Copies elsewhere, such as backups and snapshots of the disk, still have it.`,
		Example: `  fluxkeep compact`,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			if err := s.Compact(cmd.Context()); err != nil {
				return err
			}
			r.note(cmd, "Nothing that was deleted or pruned is left in the store's files.")
			return nil
		},
	}
	r.addToOperator(cmd)
	return cmd
}
