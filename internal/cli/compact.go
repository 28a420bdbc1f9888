package cli

import "github.com/spf13/cobra"

func newCompactCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Purge deleted data from the server's disk",
		Long: `Purge deleted, destroyed, overwritten and pruned data from the server's disk. That data
is encrypted, but its bytes stay in the store's files until they are rewritten. The
command returns when none of them is left. The server keeps serving requests. This needs
an operator token.

Other copies, such as backups and snapshots of the disk, still contain the data.`,
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
			r.note(cmd, "The store's files no longer contain deleted or pruned data.")
			return nil
		},
	}
	r.addToOperator(cmd)
	return cmd
}
