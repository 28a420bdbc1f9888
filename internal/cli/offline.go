package cli

import (
	"errors"
	"io/fs"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// offline holds what commands that work on a stopped server's data folder
// share.
type offline struct {
	output
	config *config.Config
}

func newOffline() *offline { return &offline{config: config.New()} }

// addTo adds the flags for output and the server's flags for the data folder
// and its key.
func (o *offline) addTo(cmd *cobra.Command) *pflag.FlagSet {
	fs := cmd.Flags()
	o.output.addFlags(cmd, fs)
	addServerFlags(fs, o.config, "config", "data-dir")
	addKeyFlags(fs, o.config)
	addStoreFlags(fs, o.config)
	return fs
}

// load completes the settings, as a server would.
func (o *offline) load() error { return o.config.Load(os.Environ()) }

// hintAtLock says what to do about a folder that a server has open.
func hintAtLock(err error) error {
	if errors.Is(err, datadir.ErrLocked) {
		return withHint(err, "stop the server first")
	}
	return err
}

// hintAtFolder also says how to find a folder that isn't there.
func hintAtFolder(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(err, "set --data-dir to the data folder and --key-file to its key")
	}
	return hintAtLock(err)
}

// addLogFlags adds the server's flags that locate the audit log.
func addLogFlags(fs *pflag.FlagSet, c *config.Config) {
	addServerFlags(fs, c, "config", "data-dir", "audit-log")
}

// addDataFlags adds the server's flags that locate its data, its key and its audit log.
func addDataFlags(fs *pflag.FlagSet, c *config.Config) {
	addLogFlags(fs, c)
	addKeyFlags(fs, c)
	addStoreFlags(fs, c)
}

// addKeyFlags adds the server's flags that select the key-encryption key.
func addKeyFlags(fs *pflag.FlagSet, c *config.Config) {
	addServerFlags(fs, c, "key-provider", "key-file", "passphrase-file", "transit-address", "transit-token-file",
		"transit-key", "transit-mount", "transit-namespace", "aws-kms-key", "gcp-kms-key")
}

// addStoreFlags adds the server's flags that say where the data is.
func addStoreFlags(fs *pflag.FlagSet, c *config.Config) {
	for _, name := range config.StoreFlags {
		if name != "etcd-compact" { // for a running server
			addServerFlags(fs, c, name)
		}
	}
}

func addServerFlags(fs *pflag.FlagSet, c *config.Config, names ...string) {
	for _, name := range names {
		fs.AddFlag(c.Flags().Lookup(name))
	}
}
