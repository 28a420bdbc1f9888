package cli

import "github.com/spf13/cobra"

func newExportCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "export",
		Short: "Export to another program",
		Long: `Write a server's secrets to another program. To write them to a file, see "fluxkeep
secret export".`,
		Example: `  fluxkeep export influxdb --url http://localhost:8086 --org acme`,
	},
		newExportInfluxDBCommand(),
	)
}
