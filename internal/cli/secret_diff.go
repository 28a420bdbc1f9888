package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

type secretDiff struct {
	r        *remote
	from, to uint64
	file     secretImport // reads --file, as an import does
	path     string
	show     bool
	exitCode bool
}

func newSecretDiffCommand(r *remote) *cobra.Command {
	c := secretDiff{r: r, file: secretImport{r: r}}
	cmd := &cobra.Command{
		Use:   "diff [PATTERN…]",
		Short: "Compare two versions, or the secrets with a file",
		Long: `Show which names were added (+), changed (~) and removed (-) between two versions, or
between the secrets and a file. Without --from, the earlier version is the one before;
without --to, the later one is the current version. With patterns, show only names that
match one of them. In a pattern, * matches any text.

Values are not shown without --show.`,
		Example: `  # the last change
  fluxkeep secret diff

  # what has changed since version 7
  fluxkeep secret diff --from 7

  # what an import of the file would change
  fluxkeep secret diff --file .env`,
		Args:              arguments(0, -1),
		ValidArgsFunction: r.completeSecrets,
		RunE:              c.run,
	}
	fs := cmd.Flags()
	fs.Uint64Var(&c.from, "from", 0, "`number` of the earlier version")
	fs.Uint64Var(&c.to, "to", 0, "`number` of the later version")
	fs.StringVarP(&c.path, "file", "f", "", "`file` to compare with; \"-\" for standard input")
	fs.StringVar(&c.file.format, "format", "", "`format` of the file: dotenv, json or yaml (default: by its name)")
	fs.BoolVar(&c.show, "show", false, "show values")
	fs.BoolVar(&c.exitCode, "exit-code", false, "exit with status 1 if there are differences")
	cmd.MarkFlagsMutuallyExclusive("file", "from")
	cmd.MarkFlagsMutuallyExclusive("file", "to")
	registerFormats(cmd)
	_ = cmd.RegisterFlagCompletionFunc("from", r.completeVersions)
	_ = cmd.RegisterFlagCompletionFunc("to", r.completeVersions)
	return cmd
}

func (c *secretDiff) run(cmd *cobra.Command, patterns []string) error {
	for _, flag := range []string{"from", "to"} {
		if f := cmd.Flags().Lookup(flag); f.Changed && f.Value.String() == "0" {
			return usageError(cmd, fmt.Errorf("--%s: a version is a number from 1 on", flag))
		}
	}
	var before, after map[string]string
	var err error
	if c.path != "" { // before anything is asked of the server
		if after, err = c.file.read(cmd, c.path); err != nil {
			return err
		}
	}
	s, org, err := c.r.open(cmd)
	if err != nil {
		return err
	}
	if c.path != "" {
		before, err = choose(cmd, s, org, nil)
	} else {
		before, after, err = c.versions(cmd, s, org)
	}
	if err != nil {
		return err
	}
	if len(patterns) > 0 {
		not := func(name, _ string) bool { return !matchesAny(patterns, name) }
		names := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
		if missing := unmatched(patterns, slices.Values(names)); len(missing) > 0 {
			err := missingError(missing)
			if _, notNumber := strconv.ParseUint(missing[0], 10, 64); notNumber == nil {
				err = withHint(err, "to compare versions, give their numbers to --from and --to")
			}
			return err
		}
		maps.DeleteFunc(before, not)
		maps.DeleteFunc(after, not)
	}
	change := compareSecrets(before, after)
	if err := c.print(cmd, change, before, after); err != nil {
		return err
	}
	if c.exitCode && !change.empty() {
		return &exitError{status: 1}
	}
	return nil
}

// versions reads the two versions.
func (c *secretDiff) versions(cmd *cobra.Command, s *session, org client.Organization) (before, after map[string]string, err error) {
	from, to := c.from, c.to
	if to == 0 {
		history, err := s.History(cmd.Context(), org.ID)
		if err != nil {
			return nil, nil, err
		}
		if len(history) == 0 {
			return nil, nil, withHint(errors.New("there are no versions to compare"), `"fluxkeep secret set" makes the first`)
		}
		to = history[0].Number
	}
	if from == 0 {
		from = to - 1
	}
	before = map[string]string{} // version 0 is empty
	if from > 0 {
		if before, err = s.ValuesAt(cmd.Context(), org.ID, from); err != nil {
			return nil, nil, fmt.Errorf("version %d: %w", from, err)
		}
	}
	if after, err = s.ValuesAt(cmd.Context(), org.ID, to); err != nil {
		return nil, nil, fmt.Errorf("version %d: %w", to, err)
	}
	return before, after, nil
}

// difference is a name that differs. The values are set only with --show.
type difference struct {
	Name   string  `json:"name"`
	Change string  `json:"change"` // added, changed or removed
	From   *string `json:"from,omitempty"`
	To     *string `json:"to,omitempty"`
}

// shownValue returns a value, and what a table shows of it.
func shownValue(secrets map[string]string, name string) (*string, string) {
	value, ok := secrets[name]
	if !ok {
		return nil, ""
	}
	return &value, strconv.Quote(value)
}

func (c *secretDiff) print(cmd *cobra.Command, change *secretChange, before, after map[string]string) error {
	t := table{header: []string{"", "NAME"}}
	if c.show {
		t.header = []string{"", "NAME", "FROM", "TO"}
	}
	list := []difference{}
	for _, kind := range []struct {
		sign, word string
		names      []string
	}{{"+", "added", change.Added}, {"~", "changed", change.Changed}, {"-", "removed", change.Removed}} {
		for _, name := range kind.names {
			d := difference{Name: name, Change: kind.word}
			row := []string{kind.sign, name}
			if c.show {
				var from, to string
				d.From, from = shownValue(before, name)
				d.To, to = shownValue(after, name)
				row = append(row, from, to)
			}
			list = append(list, d)
			t.add(name, row...)
		}
	}
	if change.empty() && !c.r.structured() {
		c.r.note(cmd, "There are no differences.")
		return nil
	}
	return c.r.print(cmd, list, &t)
}
