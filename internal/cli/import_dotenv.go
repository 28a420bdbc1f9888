package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/secretfile"
	"github.com/spf13/cobra"
)

type importDotenvFolder struct{ dataImport }

func newImportDotenvFolderCommand() *cobra.Command {
	var im importDotenvFolder
	cmd := &cobra.Command{
		Use:   "dotenv-folder FOLDER --data-dir DIR",
		Short: "Import a folder of dotenv files, one for each organization",
		Long: `Import the secrets in a folder's dotenv files. The secrets in NAME.env become those of
the organization NAME, which is created if it doesn't exist. Other files are listed and
left out, and so are subfolders.

Without --apply, this is a dry run. No server may have the data folder open. An existing
secret with another value stays unchanged and is listed. --update applies what has
changed in the files since the last import from this folder, and removes the secrets
that were removed there.

The import is atomic: if a file can't be read or the import fails, nothing is imported.`,
		Example: `  # preview
  fluxkeep import dotenv-folder secrets --data-dir /var/lib/fluxkeep

  fluxkeep import dotenv-folder secrets --data-dir /var/lib/fluxkeep --apply`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := im.load(); err != nil {
				return err
			}
			source, r, err := readDotenvFolder(args[0])
			if err != nil {
				return err
			}
			return im.runNamed(cmd, source, r)
		},
	}
	im.addFlags(cmd, cmd.Flags(), "the files")
	return cmd
}

func readDotenvFolder(dir string) (keep.Import, *importResult, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return keep.Import{}, nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return keep.Import{}, nil, err
	}
	source := keep.Import{Source: sourceID("dotenv-folder", path), Named: make(map[string]keep.ImportNamed)}
	r := &importResult{Source: path, what: "the folder"}
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		org, ok := strings.CutSuffix(e.Name(), ".env")
		if ok && org != "" {
			info, err := os.Stat(file) // follows links
			if err != nil {
				return keep.Import{}, nil, err
			}
			ok = info.Mode().IsRegular()
		}
		if !ok || org == "" {
			r.Skipped = append(r.Skipped, e.Name()+" is not a file named ORGANIZATION.env")
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return keep.Import{}, nil, err
		}
		secrets, err := secretfile.Parse(secretfile.Dotenv, data)
		if err != nil {
			return keep.Import{}, nil, withHint(fmt.Errorf("%s: %w", file, err), "nothing was imported; correct the file")
		}
		source.Named[org] = keep.ImportNamed{Secrets: secrets}
	}
	if len(source.Named) == 0 {
		return source, nil, withHint(errors.New("there are no dotenv files in "+path), "they must be named ORGANIZATION.env")
	}
	return source, r, nil
}
