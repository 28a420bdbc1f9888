package cli

import "github.com/spf13/cobra"

func newImportCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "import",
		Short: "Take over what another program keeps",
		Long: `Take over what another program keeps, into a data folder that no server has open. To
set secrets from a file of names and values, see "fluxkeep secret import".`,
		Example: `  fluxkeep import influxdb --bolt-path influxd.bolt --data-dir /var/lib/fluxkeep`,
	},
		newImportInfluxDBCommand(),
	)
}
