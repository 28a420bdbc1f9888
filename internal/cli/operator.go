package cli

import (
	"os"

	"github.com/fluxkeep/fluxkeep/internal/server"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// addToOperator adds the flags to a command about a whole server, not an
// organization.
func (r *remote) addToOperator(cmd *cobra.Command) {
	fs := cmd.Flags()
	r.output.addFlags(fs)
	r.flags.AddServer(fs)
	fs.StringVarP(&r.flags.Token, "token", "t", "", "`token` of an operator [$INFLUX_TOKEN]")
	cmd.MarkFlagsMutuallyExclusive("json", "quiet")
	_ = cmd.RegisterFlagCompletionFunc("active-config", r.completeProfiles)
}

// offline is what the commands that work on a data folder share, while no
// server has it open.
type offline struct {
	output
	config *server.Config
}

func newOffline() *offline { return &offline{config: server.NewConfig()} }

// addTo adds the flags to a command: the output's, and those of the server's
// that say where the data and its key are.
func (o *offline) addTo(cmd *cobra.Command) *pflag.FlagSet {
	fs := cmd.Flags()
	o.output.addFlags(fs)
	addServerFlags(fs, o.config, "config", "data-dir")
	addKeyFlags(fs, o.config)
	cmd.MarkFlagsMutuallyExclusive("json", "quiet")
	return fs
}

// load completes the settings, as a server would.
func (o *offline) load() error { return o.config.Load(os.LookupEnv) }
