package cli

import "github.com/spf13/cobra"

func newImportCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "import",
		Short: "Import from another program",
		Long: `Import data from another program into the data folder of a stopped server. To set
secrets from a file of names and values, see "fluxkeep secret import".`,
		Example: `  fluxkeep import influxdb --bolt-path influxd.bolt --data-dir /var/lib/fluxkeep`,
	},
		newImportInfluxDBCommand(),
	)
}
