package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretDeleteCommand(r *remote) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete PATTERN…",
		Aliases: []string{"rm"},
		Short:   "Delete secrets",
		Long: `Delete secrets in one version. In a pattern, * matches any text. A pattern that matches
nothing is an error; a name that doesn't exist is not. "fluxkeep secret rollback" brings
deleted secrets back while an earlier version is still stored.

The command names those who read the secrets in the last 30 days, and asks for
confirmation, unless you give --yes; without a terminal, --yes is required.`,
		Example: `  fluxkeep secret delete db_password
  fluxkeep secret delete 'old_*' older_key --yes`,
		Args:              arguments(1, -1),
		ValidArgsFunction: r.completeSecrets,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			names, err := expand(cmd, s, org, patterns)
			if err != nil {
				return err
			}
			if !yes && interactive(cmd) {
				for _, read := range recentReaders(cmd, s, org.ID, names, time.Now()) {
					prompt(cmd, read+"\n")
				}
			}
			if err := confirm(cmd, yes, "Delete %s of %s: %s?", count(len(names), "secret"), printable(org.Name), some(names, 10)); err != nil {
				return err
			}
			w, err := s.WriteValues(cmd.Context(), org.ID, removeAll(names), nil)
			if err != nil {
				return err
			}
			return r.written(cmd, org, w, "Deleted "+some(names, 10), "There is no secret "+some(names, 10))
		},
	}
	addYes(cmd, &yes)
	return cmd
}

// expand replaces each pattern with a * by the names that match it.
func expand(cmd *cobra.Command, s *session, org client.Organization, patterns []string) ([]string, error) {
	isName := func(p string) bool { return !strings.Contains(p, "*") }
	wild := slices.DeleteFunc(slices.Clone(patterns), isName)
	if len(wild) == 0 {
		return patterns, nil
	}
	all, err := s.SecretNames(cmd.Context(), org.ID)
	if err != nil {
		return nil, err
	}
	if missing := unmatched(wild, slices.Values(all)); len(missing) > 0 {
		return nil, missingError(missing)
	}
	names := slices.DeleteFunc(all, func(n string) bool { return !matchesAny(patterns, n) })
	for _, p := range patterns {
		if isName(p) && !slices.Contains(names, p) {
			names = append(names, p)
		}
	}
	return names, nil
}
