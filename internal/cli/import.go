package cli

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newImportCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "import",
		Short: "Import from another program",
		Long: `Import data from another program into the data folder of a stopped server. To set
secrets from a file of names and values, see "fluxkeep secret import".`,
		Example: `  fluxkeep import influxdb --bolt-path influxd.bolt --data-dir /var/lib/fluxkeep
  fluxkeep import vault --address https://vault.example.com:8200 --data-dir /var/lib/fluxkeep`,
	},
		newImportInfluxDBCommand(),
		newImportVaultCommand(),
		newImportDotenvFolderCommand(),
	)
}

// dataImport holds what imports into a data folder share.
type dataImport struct {
	offline
	apply          bool
	update         bool
	restoreDeleted bool
}

// addFlags adds the flags. from names the source.
func (im *dataImport) addFlags(cmd *cobra.Command, fs *pflag.FlagSet, from string) {
	im.config = config.New()
	fs.BoolVar(&im.apply, "apply", false, "import, instead of showing what would be imported")
	fs.BoolVar(&im.update, "update", false, "apply what was changed or deleted in "+from+" since the last import")
	fs.BoolVar(&im.restoreDeleted, "restore-deleted", false, "import objects again that were deleted here")
	im.addFormat(cmd, fs)
	addDataFlags(fs, im.config)
}

// run imports, or shows what would be imported. r describes the source.
func (im *dataImport) run(cmd *cobra.Command, source keep.Import, r *importResult) (err error) {
	source.Update, source.RestoreDeleted = im.update, im.restoreDeleted
	r.DataDir, r.Applied = im.config.DataDir, im.apply
	r.NotTaken, r.Skipped = orEmpty(r.NotTaken), orEmpty(r.Skipped)
	if im.apply {
		var done datadir.ImportResult
		done, err = datadir.Import(cmd.Context(), im.config, source)
		r.NewFolder, r.NewKey = done.NewFolder, done.NewKey
		r.Compared = &importCompared{done.Compared.Equal, done.Compared.Different, done.Compared.Missing}
		r.take(done.ImportReport)
	} else {
		var report keep.ImportReport
		report, r.NewFolder, err = datadir.PlanImport(cmd.Context(), im.config, source)
		r.take(report)
	}
	if err != nil {
		return hintAtLock(err)
	}
	return r.print(cmd, &im.output)
}

// runNamed is run for a source of secrets alone. It refuses a new data folder: a
// server that has organizations can't be set up any more, so nobody could sign
// in.
func (im *dataImport) runNamed(cmd *cobra.Command, source keep.Import, r *importResult) error {
	_, newFolder, err := datadir.PlanImport(cmd.Context(), im.config, keep.Import{})
	switch {
	case err != nil:
		return hintAtLock(err)
	case newFolder:
		return withHint(errors.New("there is no data in "+im.config.DataDir), `create it first: run "fluxkeep serve" and "fluxkeep setup", then stop the server`)
	}
	source.Kinds = []string{keep.ImportOrganizationKind, keep.ImportSecretKind}
	return im.run(cmd, source, r)
}

// sourceID returns the ID of a source that has none.
func sourceID(kind, name string) keep.ID {
	sum := sha256.Sum256([]byte(kind + " " + name))
	return max(1, keep.ID(binary.BigEndian.Uint64(sum[:8])))
}
