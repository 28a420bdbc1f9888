package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/vaultsource"
	"github.com/spf13/cobra"
)

type importVault struct {
	dataImport
	source    vaultsource.Source
	tokenFile string
	mapping   []string
	separator string
	versions  int
}

func newImportVaultCommand() *cobra.Command {
	im := importVault{}
	cmd := &cobra.Command{
		Use:   "vault --address URL --data-dir DIR",
		Short: "Import the secrets of a Vault or OpenBao",
		Long: `Import secrets from a KV version 2 secrets engine of a Vault or an OpenBao; another
Fluxkeep is one too. By default, each document becomes the organization with the name of
its path, and its keys are the names of the secrets. Organizations that don't exist are
created.

--map PATTERN=ORGANIZATION imports the documents whose paths match the pattern into one
organization; documents that match no pattern are left out. In a pattern, one * matches
any text. The names of the secrets then start with the matched text and the separator:
with --map 'apps/*=acme', the key password of apps/db becomes db/password.

The token comes from --token-file or VAULT_TOKEN. It needs to list and read the engine.

Earlier versions of the documents become versions of an organization that has no secrets
yet. They get the time of the import. Deleted and destroyed versions are not imported.
Values that are not strings are imported as JSON, and are listed.

Without --apply, this is a dry run. No server may have the data folder open. An existing
secret with another value stays unchanged and is listed. --update applies what has
changed in Vault since the last import, and removes the secrets that were removed there.
The import is atomic.`,
		Example: `  # preview
  fluxkeep import vault --address https://vault.example.com:8200 --token-file token \
    --data-dir /var/lib/fluxkeep

  # all documents below apps/ into one organization
  fluxkeep import vault --map 'apps/*=acme' --separator _ --data-dir /var/lib/fluxkeep --apply`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return im.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&im.source.Address, "address", "", "`URL` of the Vault [$VAULT_ADDR]")
	fs.StringVar(&im.tokenFile, "token-file", "", "`file` with the token; \"-\" for standard input (default: $VAULT_TOKEN)")
	fs.StringVar(&im.source.Namespace, "namespace", "", "`namespace` of the engine [$VAULT_NAMESPACE]")
	fs.StringVar(&im.source.Mount, "mount", "secret", "`path` of the secrets engine")
	fs.StringArrayVar(&im.mapping, "map", nil, "`rule` PATTERN=ORGANIZATION: where matching documents go; repeatable, the first match counts")
	fs.StringVar(&im.separator, "separator", "/", "`text` between the matched text and the key")
	fs.IntVar(&im.versions, "versions", 10, "`number` of versions to import, including the current one")
	im.addFlags(cmd, fs, "Vault")
	return cmd
}

func (im *importVault) run(cmd *cobra.Command) error {
	if im.versions < 1 {
		return usageError(cmd, errors.New("--versions must be at least 1"))
	}
	rules, err := parseRules(im.mapping)
	if err != nil {
		return usageError(cmd, err)
	}
	if err := im.load(); err != nil {
		return err
	}
	s := &im.source
	s.HTTP = http.DefaultClient
	s.Address = cmp.Or(s.Address, os.Getenv("VAULT_ADDR"))
	s.Namespace = cmp.Or(s.Namespace, os.Getenv("VAULT_NAMESPACE"))
	s.Token = os.Getenv("VAULT_TOKEN")
	if im.tokenFile != "" {
		if s.Token, err = (input{file: im.tokenFile}).readCredential(cmd, "Token", false); err != nil {
			return err
		}
	}
	switch {
	case s.Address == "":
		return usageError(cmd, errors.New("--address is missing, and VAULT_ADDR is not set"))
	case s.Token == "":
		return usageError(cmd, errors.New("--token-file is missing, and VAULT_TOKEN is not set"))
	}
	source, r, err := im.read(cmd.Context(), rules)
	if err != nil {
		if errors.Is(err, vaultsource.ErrDenied) {
			err = withHint(err, `the token needs "list" on %s/metadata/* and "read" on %s/metadata/* and %s/data/*`, s.Mount, s.Mount, s.Mount)
		}
		return err
	}
	return im.runNamed(cmd, source, r)
}

// documentRule says where documents go: those with a path, or all whose paths start
// with before and end with after.
type documentRule struct {
	path          string
	before, after string
	org           string
}

// parseRules reads --map.
func parseRules(list []string) ([]documentRule, error) {
	var out []documentRule
	for _, m := range list {
		pattern, org, ok := strings.Cut(m, "=")
		r := documentRule{path: pattern, org: org}
		if before, after, wild := strings.Cut(pattern, "*"); wild {
			r = documentRule{before: before, after: after, org: org}
		}
		if !ok || pattern == "" || org == "" || strings.Contains(r.after, "*") {
			return nil, fmt.Errorf("--map %q must have the form PATTERN=ORGANIZATION, with one * at most", m)
		}
		out = append(out, r)
	}
	return out, nil
}

// target returns the organization of a document, and what the names of its
// secrets start with. ok is false if no rule matches.
func target(rules []documentRule, path, separator string) (org, prefix string, ok bool) {
	if len(rules) == 0 {
		return path, "", true
	}
	for _, r := range rules {
		if r.path != "" {
			if path == r.path {
				return r.org, "", true
			}
			continue
		}
		if rest, ok := strings.CutPrefix(path, r.before); ok && len(rest) > len(r.after) && strings.HasSuffix(rest, r.after) {
			return r.org, strings.TrimSuffix(rest, r.after) + separator, true
		}
	}
	return "", "", false
}

// sourceDocument is a version of a document, with the names of secrets.
type sourceDocument struct {
	path string
	vaultsource.Document
}

// read reads all documents.
func (im *importVault) read(ctx context.Context, rules []documentRule) (keep.Import, *importResult, error) {
	r := &importResult{Source: im.source.Address, what: "Vault"}
	cluster, err := im.source.Cluster(ctx)
	if err != nil {
		return keep.Import{}, nil, err
	}
	paths, err := im.source.Paths(ctx)
	if err != nil {
		return keep.Import{}, nil, err
	}
	documents := make(map[string][]sourceDocument) // by organization
	for _, path := range paths {
		org, prefix, ok := target(rules, path, im.separator)
		if !ok {
			r.Skipped = append(r.Skipped, path+" matches no --map")
			continue
		}
		versions, err := im.source.Read(ctx, path, im.versions)
		if err != nil {
			return keep.Import{}, nil, err
		}
		for i, v := range versions {
			if i == len(versions)-1 {
				for _, name := range v.Encoded {
					r.Skipped = append(r.Skipped, fmt.Sprintf("the value of %s in %s is not a string, and is imported as JSON", name, path))
				}
			}
			secrets := make(map[string]string, len(v.Secrets))
			for key, value := range v.Secrets {
				secrets[prefix+key] = value
			}
			v.Secrets = secrets
			documents[org] = append(documents[org], sourceDocument{path, v})
		}
	}
	source := keep.Import{Source: sourceID("vault", cluster+" "+im.source.Namespace+" "+im.source.Mount), Named: make(map[string]keep.ImportNamed)}
	for org, list := range documents {
		states, err := statesOf(list, im.versions)
		if err != nil {
			return keep.Import{}, nil, fmt.Errorf("organization %s: %w", printable(org), err)
		}
		last := len(states) - 1
		source.Named[org] = keep.ImportNamed{Secrets: states[last], Earlier: states[:last]}
	}
	if len(source.Named) == 0 {
		return source, nil, withHint(errors.New("there are no documents to import"), "check --mount, --namespace and --map")
	}
	return source, r, nil
}

// statesOf returns an organization's secrets after each version of one of its
// documents, in the order in which the versions were made: the last ones, most of
// them at most.
func statesOf(list []sourceDocument, most int) ([]map[string]string, error) {
	slices.SortStableFunc(list, func(a, b sourceDocument) int { return a.Created.Compare(b.Created) })
	current := make(map[string]map[string]string) // by path
	var states []map[string]string
	for i, d := range list {
		current[d.path] = d.Secrets
		if i < len(list)-most {
			continue
		}
		state := make(map[string]string)
		for _, path := range slices.Sorted(maps.Keys(current)) {
			for name, value := range current[path] {
				if _, ok := state[name]; ok && i == len(list)-1 {
					return nil, withHint(fmt.Errorf("two documents have the secret %s", printable(name)), "give one of them another organization, or another pattern, with --map")
				}
				state[name] = value
			}
		}
		states = append(states, state)
	}
	return states, nil
}
