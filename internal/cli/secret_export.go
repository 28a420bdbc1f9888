package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/durable"
	"github.com/fluxkeep/fluxkeep/internal/secretfile"
	"github.com/spf13/cobra"
)

type secretExport struct {
	r      *remote
	format string
	only   []string
	force  bool
	show   bool
}

func newSecretExportCommand(r *remote) *cobra.Command {
	ex := secretExport{r: r}
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Export secrets to a dotenv, JSON or YAML file",
		Long: `Write secrets with their values to a file that only its owner can read, or to standard
output. Writing to a terminal needs --show. An existing file is not overwritten without
--force.

"fluxkeep secret import" restores the values exactly. A shell can read a dotenv file
too; its names can contain only letters, digits, underscores, dots and hyphens.

The file is not encrypted: consider where you store it and who backs it up.`,
		Example: `  fluxkeep secret export secrets.env
  fluxkeep secret export backup.yaml --force
  fluxkeep secret export --only 'db_*' --format json | jq keys`,
		Annotations: map[string]string{variables: ""},
		Args:        arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) == 1 {
				path = args[0]
			}
			return ex.run(cmd, path)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&ex.format, "format", "", "`format` to write: dotenv, json or yaml (default: by the file's name)")
	flags.StringSliceVar(&ex.only, "only", nil, "`names` to export; * matches any text (default all)")
	flags.BoolVar(&ex.force, "force", false, "overwrite the file")
	flags.BoolVar(&ex.show, "show", false, "print values even on a terminal")
	registerFormats(cmd)
	_ = cmd.RegisterFlagCompletionFunc("only", r.completeSecrets)
	return cmd
}

func (ex *secretExport) run(cmd *cobra.Command, path string) error {
	format, err := ex.chooseFormat(path)
	if err != nil {
		return err
	}
	if path == "-" {
		if err := refuseTerminal(cmd, ex.show, "an export"); err != nil {
			return err
		}
	}
	s, org, err := ex.r.open(cmd)
	if err != nil {
		return err
	}
	secrets, err := choose(cmd, s, org, ex.only)
	if err != nil {
		return err
	}
	text, err := secretfile.Append(nil, format, secrets)
	if err != nil {
		return err
	}
	if path == "-" {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	if err := writePrivate(path, text, ex.force); err != nil {
		return err
	}
	ex.r.note(cmd, "Exported %s of %s to %s, in plain text.", count(len(secrets), "secret"), printable(org.Name), printable(path))
	return nil
}

func (ex *secretExport) chooseFormat(path string) (secretfile.Format, error) {
	switch {
	case ex.format != "":
		return secretfile.ParseFormat(ex.format)
	case ex.r.format == formatJSON:
		return secretfile.JSON, nil
	case ex.r.format == formatYAML:
		return secretfile.YAML, nil
	case ex.r.format == formatEnv:
		return secretfile.Dotenv, nil
	}
	return secretfile.FormatOf(path), nil
}

// choose reads the secrets that match the patterns; no patterns means all. A
// name without a * must exist.
func choose(cmd *cobra.Command, s *session, org client.Organization, patterns []string) (map[string]string, error) {
	v, _, err := s.Values(cmd.Context(), org.ID, &client.ValuesQuery{Names: exact(patterns)})
	if err != nil {
		return nil, err
	}
	return chosen(patterns, v.Secrets)
}

// writePrivate atomically writes a file that only its owner can read.
func writePrivate(path string, data []byte, overwrite bool) error {
	err := durable.WriteNewFile(path, data)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !overwrite {
		return withHint(fmt.Errorf("%s exists", path), "overwrite it with --force")
	}
	f, err := durable.CreateTemp(filepath.Dir(path), ".fluxkeep-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := durable.Commit(f, path, err); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
