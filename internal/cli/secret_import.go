package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/secretfile"
	"github.com/spf13/cobra"
)

type secretImport struct {
	r       *remote
	format  string
	replace bool
	dryRun  bool
	yes     bool
}

func newSecretImportCommand(r *remote) *cobra.Command {
	im := secretImport{r: r}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Import secrets from a dotenv, JSON or YAML file",
		Long: `Set all secrets in a file, in one version: either all of them are set or none. The
command first shows which names would be added, changed and removed, without values, and
on a terminal asks for confirmation. If somebody else changes the secrets in the
meantime, nothing is written.

Without --replace, secrets that are not in the file stay. With it, they are removed;
without a terminal, that requires --yes.

--format or the file's name gives the format: .json, .yaml or .yml, and dotenv for any
other name. In a dotenv file nothing is expanded: a $ is a $. Use "-" for standard
input.`,
		Example: `  # preview
  fluxkeep secret import .env --dry-run

  # make the organization's secrets match the file exactly
  fluxkeep secret import secrets.yaml --replace

  # from one organization to another
  fluxkeep secret export --org a --json | fluxkeep secret import - --format json --org b`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return im.run(cmd, args[0]) },
	}
	fs := cmd.Flags()
	fs.StringVar(&im.format, "format", "", "`format` of the file: dotenv, json or yaml (default: by its name)")
	fs.BoolVar(&im.replace, "replace", false, "remove secrets that are not in the file")
	fs.BoolVar(&im.dryRun, "dry-run", false, "show what would change, without changing anything")
	addYes(cmd, &im.yes)
	fs.Lookup("yes").Usage = yesToRemove
	registerFormats(cmd)
	return cmd
}

func registerFormats(cmd *cobra.Command) {
	var names []string
	for _, f := range secretfile.Formats() {
		names = append(names, string(f))
	}
	completeValues(cmd, "format", names...)
}

func (im *secretImport) run(cmd *cobra.Command, path string) error {
	secrets, err := im.read(cmd, path)
	if err != nil {
		return err
	}
	s, org, err := im.r.open(cmd)
	if err != nil {
		return err
	}
	p, err := im.preview(cmd, s, org, secrets)
	if err != nil {
		return err
	}
	switch {
	case im.dryRun && im.r.structured():
		return im.r.printValue(cmd, p)
	case im.dryRun:
		return p.print(cmd.OutOrStdout(), 1<<30)
	case p == nil || !p.empty():
		if err := im.ask(cmd, org, p); err != nil {
			return err
		}
	}
	w, err := im.write(cmd, s, org, secrets, p)
	if err != nil {
		return err
	}
	return im.r.written(cmd, org, w, "Imported "+count(len(secrets), "secret"), printable(org.Name)+" has all of this already")
}

// read reads and checks the file here, so that errors can name the secret.
func (im *secretImport) read(cmd *cobra.Command, path string) (map[string]string, error) {
	format := secretfile.FormatOf(path)
	if im.format != "" {
		var err error
		if format, err = secretfile.ParseFormat(im.format); err != nil {
			return nil, err
		}
	}
	var data []byte
	var err error
	if path == "-" {
		var text string
		text, err = readAll(cmd.InOrStdin())
		data = []byte(text)
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	secrets, err := secretfile.Parse(format, data)
	if err != nil {
		return nil, withHint(fmt.Errorf("%s: %w", path, err), "it was read as %s; set another format with --format", format)
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if err := checkSecret(name, secrets[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return secrets, nil
}

// checkSecret applies the server's limits and names the secret in its errors.
func checkSecret(name, value string) error {
	switch {
	case name == "":
		return errors.New("a name is empty")
	case len(name) > keep.MaxName || !utf8.ValidString(name) || slices.Contains([]byte(name), 0):
		return fmt.Errorf("the name %s… can't be one of a secret: it has more than %d bytes, or a NUL", printable(name[:min(len(name), 20)]), keep.MaxName)
	case len(value) > keep.MaxValue:
		return fmt.Errorf("the value of %s has %d bytes, and %d is the most", printable(name), len(value), keep.MaxValue)
	}
	return nil
}

// maxChosen is the largest number of names to request by name. Above it,
// requesting all secrets is cheaper.
const maxChosen = 50

// preview compares the file with the stored secrets. It is nil if the token may
// not read them.
func (im *secretImport) preview(cmd *cobra.Command, s *session, org client.Organization, secrets map[string]string) (*secretChange, error) {
	q := &client.ValuesQuery{}
	if !im.replace && len(secrets) <= maxChosen {
		q.Names = orEmpty(slices.Sorted(maps.Keys(secrets)))
	}
	v, _, err := s.Values(cmd.Context(), org.ID, q)
	switch {
	case errors.Is(err, client.ErrUnauthorized) && !im.dryRun && isPermission(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if !im.replace { // what is not in the file stays
		maps.DeleteFunc(v.Secrets, func(name, _ string) bool { _, ok := secrets[name]; return !ok })
	}
	p := compareSecrets(v.Secrets, secrets)
	p.etag = v.ETag
	return p, nil
}

// isPermission reports whether the token lacks a permission, instead of being
// unknown.
func isPermission(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Message != "unauthorized access"
}

// ask shows the preview and asks whether to continue.
func (im *secretImport) ask(cmd *cobra.Command, org client.Organization, p *secretChange) error {
	if p == nil {
		warn(cmd, "the token may not read, so the changes can't be shown")
	} else if !im.r.structured() && !im.r.quiet {
		if err := p.print(cmd.ErrOrStderr(), 20); err != nil {
			return err
		}
	}
	removes := im.replace && (p == nil || len(p.Removed) > 0)
	return confirm(cmd, im.yes || !removes && !interactive(cmd), "Import into %s?", printable(org.Name))
}

// write sends only the differences, on condition that the secrets haven't
// changed since, or all secrets if there is no preview.
func (im *secretImport) write(cmd *cobra.Command, s *session, org client.Organization, secrets map[string]string, p *secretChange) (client.WriteResult, error) {
	shown := im.r.progress(cmd)
	o := &client.WriteOptions{Progress: func(sent, total int64) {
		if total >= 1<<20 {
			shown.show(sent == total, "sent %.1f of %s (%d%%)", float64(sent)/(1<<20), megabytes(total), 100*sent/total)
		}
	}}
	if p == nil && im.replace {
		return s.ReplaceValues(cmd.Context(), org.ID, secrets, o)
	}
	change := setAll(secrets)
	if p != nil {
		change, o.IfMatch = p.values(secrets), p.etag
	}
	w, err := s.WriteValues(cmd.Context(), org.ID, change, o)
	if errors.Is(err, client.ErrChanged) {
		err = withHint(errors.New("the secrets have changed since they were compared with the file"), "nothing was written: run the command again")
	}
	return w, err
}
