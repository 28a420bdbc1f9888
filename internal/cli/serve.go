package cli

import (
	"os"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/server"
	"github.com/spf13/cobra"
)

func newServeCommand() *cobra.Command {
	c := config.New()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until it is interrupted or gets SIGTERM; then requests in flight are
finished. It needs no flag: all that it keeps is made in its data folder on the first
start, encrypted by a key that is made there too. Move that key to another disk, keep
a copy, and name it with --key-file: without it nothing can be read again.

Each setting can also be given as an environment variable, --log-level as
FLUXKEEP_LOG_LEVEL, and in the file that --config names, as log-level = "debug". A
flag wins over a variable, and a variable over the file.

SIGHUP makes the server read the TLS certificate and the log level again and begin a
new file of the audit log. Its own log goes to standard error.`,
		Example: `  # everything by default: http://127.0.0.1:8086, data in ~/.fluxkeep
  fluxkeep serve

  # for other machines, the key apart from the data
  fluxkeep serve --http-bind-address :8086 --tls-cert cert.pem --tls-key key.pem \
    --data-dir /var/lib/fluxkeep --key-file /etc/fluxkeep/key

  # the same from a file
  fluxkeep serve --config /etc/fluxkeep/fluxkeep.toml`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Load(os.Environ()); err != nil {
				return err
			}
			v := readVersion()
			c.Version, c.Commit = v.Version, v.Commit
			return server.Run(cmd.Context(), c, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().AddFlagSet(c.Flags())
	return cmd
}
