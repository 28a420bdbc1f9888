package cli

import (
	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretCommand() *cobra.Command {
	r := &remote{}
	cmd := group(&cobra.Command{
		Use:   "secret",
		Short: "Manage secrets and their versions",
		Long: `Manage an organization's secrets. Every change creates a new version of all of them. The
server stores the last ten versions, and the last ten changes of each secret, so you can
roll back all secrets or one.

Values never appear on a terminal or in the shell's history unless you ask for it.`,
		Example: `  fluxkeep secret set db_password
  fluxkeep secret list
  fluxkeep secret get db_password | psql-login
  fluxkeep secret history
  fluxkeep secret rollback 7
  fluxkeep secret rollback db_password --to 7`,
	},
		newSecretListCommand(r),
		newSecretSetCommand(r),
		newSecretGetCommand(r),
		newSecretEditCommand(r),
		newSecretDiffCommand(r),
		newSecretGenerateCommand(r),
		newSecretCopyCommand(r),
		newSecretRenameCommand(r),
		newSecretDeleteCommand(r),
		newSecretHistoryCommand(r),
		newSecretReadersCommand(r),
		newSecretRollbackCommand(r),
		newSecretUnpinCommand(r),
		newSecretSettingsCommand(r),
		newSecretImportCommand(r),
		newSecretExportCommand(r),
	)
	r.addTo(cmd)
	return cmd
}

// written reports the result of a write, as text or JSON. With --quiet it
// prints nothing.
func (r *remote) written(cmd *cobra.Command, org client.Organization, w client.WriteResult, done, unchanged string) error {
	if r.structured() {
		return r.printValue(cmd, w)
	}
	if w.Changed {
		r.note(cmd, "%s: version %d of %s.", done, w.Version, printable(org.Name))
	} else {
		r.note(cmd, "%s: nothing has changed.", unchanged)
	}
	return nil
}
