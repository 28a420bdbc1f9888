// Command fluxkeep keeps the secrets of people who run InfluxDB. All it can do
// is in package cli.
package main

import (
	"os"

	"github.com/fluxkeep/fluxkeep/internal/cli"
)

func main() { os.Exit(cli.Main()) }
