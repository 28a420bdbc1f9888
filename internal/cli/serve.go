package cli

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

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
			return portHint(server.Run(cmd.Context(), c, cmd.ErrOrStderr()), c.BindAddress)
		},
	}
	cmd.Flags().AddFlagSet(c.Flags())
	return cmd
}

// portHint says who has the port that the server wanted, and proposes another.
func portHint(err error, bind string) error {
	var taken *net.OpError
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &taken) {
		return err
	}
	host, _, herr := net.SplitHostPort(bind)
	address, ok := taken.Addr.(*net.TCPAddr)
	if herr != nil || !ok || !strings.Contains(err.Error(), "--http-bind-address") {
		return err
	}
	at := *address
	if at.IP == nil || at.IP.IsUnspecified() {
		at.IP = net.IPv4(127, 0, 0, 1)
	}
	free := freeAddress(host, at.Port)
	return withHint(err, "%s listens there; run Fluxkeep beside it: --http-bind-address %s", whoListens(at.String()), free)
}
