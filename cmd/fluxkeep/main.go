// Command fluxkeep is the secrets server for people who run InfluxDB, and the
// command line for it. Package cli has its commands.
package main

import (
	"os"

	"github.com/fluxkeep/fluxkeep/internal/cli"
)

func main() { os.Exit(cli.Main()) }
