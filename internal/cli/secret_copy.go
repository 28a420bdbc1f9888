package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

// secretCopy copies secrets, and removes the originals if they are renamed.
type secretCopy struct {
	r       *remote
	toOrg   string
	replace bool
	rename  bool
}

func newSecretCopyCommand(r *remote) *cobra.Command {
	c := secretCopy{r: r}
	cmd := c.command()
	cmd.Use = "copy NAME NEW-NAME | copy PATTERN… --to-org NAME"
	cmd.Aliases = []string{"cp"}
	cmd.Short = "Copy secrets to another name or organization"
	cmd.Long = `Copy a secret to another name or, with --to-org, copy secrets to another organization,
under the same names and in one version. In a pattern, * matches any text.

A secret that exists is not overwritten without --replace. Its previous value stays in
the history. Copies don't take the history of the original with them.`
	cmd.Example = `  fluxkeep secret copy db_password db_password_old
  fluxkeep secret copy 'db_*' --org staging --to-org production
  fluxkeep secret copy api_key --to-org production --replace`
	return cmd
}

func newSecretRenameCommand(r *remote) *cobra.Command {
	c := secretCopy{r: r, rename: true}
	cmd := c.command()
	cmd.Use = "rename NAME NEW-NAME | rename PATTERN… --to-org NAME"
	cmd.Aliases = []string{"mv"}
	cmd.Short = "Rename a secret, or move secrets to another organization"
	cmd.Long = `Give a secret another name or, with --to-org, move secrets to another organization under
the same names. In a pattern, * matches any text.

A rename within one organization is one version: no reader sees neither or both of the
names. A move between organizations writes the copies first, and then removes the
originals, unless they have changed in the meantime.

A secret that exists is not overwritten without --replace. The history stays with the
old name.`
	cmd.Example = `  fluxkeep secret rename db_pass db_password
  fluxkeep secret rename 'db_*' --org staging --to-org production`
	return cmd
}

func (c *secretCopy) command() *cobra.Command {
	cmd := &cobra.Command{
		Args:              arguments(1, -1),
		ValidArgsFunction: c.r.completeSecrets,
		RunE:              c.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.toOrg, "to-org", "", "`name` or ID of another organization")
	fs.BoolVar(&c.replace, "replace", false, "overwrite secrets that exist")
	_ = cmd.RegisterFlagCompletionFunc("to-org", c.r.completeOrgs)
	return cmd
}

func (c *secretCopy) run(cmd *cobra.Command, args []string) error {
	if c.toOrg == "" && len(args) != 2 {
		return usageError(cmd, errors.New("it takes a name and a new name, or --to-org"))
	}
	s, org, err := c.r.open(cmd)
	if err != nil {
		return err
	}
	if c.toOrg == "" {
		return c.within(cmd, s, org, args[0], args[1])
	}
	to, err := s.findOrg(cmd, c.toOrg)
	if err != nil {
		return err
	}
	from, err := s.Organization(cmd.Context(), org.ID)
	if err != nil {
		return err
	}
	if from.ID == to.ID {
		return usageError(cmd, errors.New("--to-org is the organization that the secrets are in"))
	}
	return c.across(cmd, s, from, to, args)
}

// refuseExisting refuses to overwrite secrets without --replace.
func refuseExisting(now map[string]string, org client.Organization, replace bool, names ...string) error {
	var taken []string
	for _, n := range names {
		if _, ok := now[n]; ok {
			taken = append(taken, n)
		}
	}
	if len(taken) == 0 || replace {
		return nil
	}
	verb := "exists"
	if len(taken) > 1 {
		verb = "exist"
	}
	return withHint(fmt.Errorf("%s %s in %s: nothing was done", some(taken, 10), verb, printable(org.Name)), "overwrite with --replace, which keeps the previous value in the history")
}

func (c *secretCopy) within(cmd *cobra.Command, s *session, org client.Organization, name, to string) error {
	if name == to {
		return usageError(cmd, errors.New("the two names are the same"))
	}
	w, err := s.update(cmd.Context(), org.ID, []string{name, to}, func(now map[string]string) (map[string]*string, error) {
		value, ok := now[name]
		if !ok {
			return nil, missingError([]string{name})
		}
		if err := refuseExisting(now, org, c.replace, to); err != nil {
			return nil, err
		}
		change := map[string]*string{to: &value}
		if c.rename {
			change[name] = nil
		}
		return change, nil
	})
	if err != nil {
		return err
	}
	done := fmt.Sprintf("Copied %s to %s", printable(name), printable(to))
	if c.rename {
		done = fmt.Sprintf("Renamed %s to %s", printable(name), printable(to))
	}
	return c.r.written(cmd, org, w, done, printable(to)+" has that value already")
}

// across copies to another organization. Values to be moved are removed only if
// they are still what was copied, so a change in between isn't lost.
func (c *secretCopy) across(cmd *cobra.Command, s *session, from, to client.Organization, patterns []string) error {
	secrets, err := choose(cmd, s, from, patterns)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(secrets))
	w, err := s.update(cmd.Context(), to.ID, names, func(now map[string]string) (map[string]*string, error) {
		if err := refuseExisting(now, to, c.replace, names...); err != nil {
			return nil, err
		}
		return setAll(secrets), nil
	})
	if err != nil {
		return err
	}
	if !c.rename {
		return c.r.written(cmd, to, w, "Copied "+some(names, 10)+" from "+printable(from.Name), printable(to.Name)+" has all of this already")
	}
	removed, err := s.update(cmd.Context(), from.ID, names, func(now map[string]string) (map[string]*string, error) {
		for _, n := range names {
			if value, ok := now[n]; ok && value != secrets[n] {
				return nil, fmt.Errorf("%s has changed since it was copied", printable(n))
			}
		}
		return removeAll(names), nil
	})
	if err != nil {
		return withHint(fmt.Errorf("the secrets are in %s now, and still in %s too: %w", printable(to.Name), printable(from.Name), err),
			"compare them, then remove the originals with: fluxkeep secret delete")
	}
	if !w.Changed && !c.r.structured() { // but the originals are gone
		had := printable(to.Name) + " had the same values already"
		return c.r.written(cmd, from, removed, had+"; removed "+some(names, 10), had+", and "+printable(from.Name)+" no longer has them")
	}
	return c.r.written(cmd, to, w, "Moved "+some(names, 10)+" from "+printable(from.Name), "")
}
