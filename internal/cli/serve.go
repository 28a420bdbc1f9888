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
		Long: `Run the server until it is interrupted or receives SIGTERM; it then finishes the
requests in progress. No flag is required: on the first start, the server creates its
data folder, and in it the key that encrypts the data. Move that key to another disk,
keep a copy, and pass it with --key-file: without the key, the data can't be read.

You can also give each setting as an environment variable, such as FLUXKEEP_LOG_LEVEL
for --log-level, or in the file given by --config, as log-level = "debug". A flag
overrides a variable, and a variable overrides the file.

On SIGHUP, the server reloads the TLS certificate and the log level, and starts a new
audit log file. The server's own log goes to standard error.`,
		Example: `  # with the defaults: http://127.0.0.1:8086, data in ~/.fluxkeep
  fluxkeep serve

  # reachable from other machines, with the key separate from the data
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

// portHint names the program that uses the server's port, and proposes another.
func portHint(err error, bind string) error {
	taken, ok := errors.AsType[*net.OpError](err)
	if !ok || !errors.Is(err, syscall.EADDRINUSE) {
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
	return withHint(err, "%s uses that address; use another one: --http-bind-address %s", whoListens(at.String()), free)
}
