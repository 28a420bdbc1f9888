package cli

import (
	"errors"
	"io/fs"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/spf13/cobra"
)

func newKeyCreateCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Create a key file",
		Long: `Create a file with a new key-encryption key, for a server that can't create its own: one
whose key comes from a Kubernetes Secret, a systemd credential or a configuration
management tool. Only the file's owner can read it. Keep a copy of it apart from the
data and the backups: without the key, nobody can read them.`,
		Example: `  fluxkeep key create /etc/fluxkeep/key
  fluxkeep serve --key-file /etc/fluxkeep/key`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := seal.CreateKeyFile(args[0])
			if errors.Is(err, fs.ErrExist) {
				return withHint(err, "a key that is in use can't be replaced like this: see fluxkeep key rewrap --help")
			}
			if err != nil {
				return err
			}
			ref, _, err := key.Key(cmd.Context())
			if err != nil {
				return err
			}
			t := table{header: []string{"KEY-ENCRYPTION KEY", "FILE"}}
			t.add(ref.ID, ref.ID, args[0])
			return o.print(cmd, struct {
				ID   string `json:"id"`
				File string `json:"file"`
			}{ref.ID, args[0]}, &t)
		},
	}
	o.addFlags(cmd, cmd.Flags())
	return cmd
}
