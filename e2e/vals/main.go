// Program vals reads secrets with the Vault provider of vals, which Helmfile uses.
// Each argument is PATH/KEY; its value is printed on a line. The settings are in
// VAULT_… variables.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/helmfile/vals/pkg/config"
	"github.com/helmfile/vals/pkg/log"
	"github.com/helmfile/vals/pkg/providers/vault"
)

func main() {
	p := vault.New(log.New(log.Config{Output: io.Discard}), config.MapConfig{M: map[string]any{}})
	for _, key := range os.Args[1:] {
		value, err := p.GetString(key)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(value)
	}
}
