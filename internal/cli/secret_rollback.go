package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

type secretRollback struct {
	r   *remote
	to  uint64
	yes bool
}

func newSecretRollbackCommand(r *remote) *cobra.Command {
	rb := secretRollback{r: r}
	cmd := &cobra.Command{
		Use:   "rollback VERSION | NAME --to VERSION",
		Short: "Roll all secrets, or one, back to an earlier version",
		Long: `Create a new version with exactly the content of an earlier one. Nothing is lost: the
versions in between stay stored, and you can undo a rollback with another one.

With a name and --to, give only that secret the value that it had in the version. All
others stay as they are. The version may be one that is no longer stored, if "fluxkeep
secret history NAME" shows it.

The command shows what has changed since and asks for confirmation unless you give --yes;
without a terminal, --yes is required.`,
		Example: `  # all secrets
  fluxkeep secret history
  fluxkeep secret rollback 7

  # one
  fluxkeep secret history db_password
  fluxkeep secret rollback db_password --to 7`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(rb.complete),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("to") {
				return rb.one(cmd, args[0])
			}
			return rb.all(cmd, args[0])
		},
	}
	cmd.Flags().Uint64Var(&rb.to, "to", 0, "`version` to roll the named secret back to")
	addYes(cmd, &rb.yes)
	_ = cmd.RegisterFlagCompletionFunc("to", r.completeVersions)
	return cmd
}

func (rb *secretRollback) complete(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if cmd.Flags().Changed("to") {
		return rb.r.completeSecrets(cmd, args, toComplete)
	}
	return rb.r.completeVersions(cmd, args, toComplete)
}

// one rolls one secret back.
func (rb *secretRollback) one(cmd *cobra.Command, name string) error {
	if rb.to == 0 {
		return usageError(cmd, errors.New("0 is no version: --to needs a number from 1 on"))
	}
	s, org, err := rb.r.open(cmd)
	if err != nil {
		return err
	}
	history, err := s.SecretHistory(cmd.Context(), org.ID, name)
	if errors.Is(err, client.ErrNotFound) {
		return missingError([]string{name})
	}
	if err != nil {
		return err
	}
	last := history[0]
	what := "changed"
	if last.Removed {
		what = "removed"
	}
	if err := confirm(cmd, rb.yes, "Roll %s of %s back to version %d? It was last %s in version %d (%s, by %s).", printable(name), printable(org.Name), rb.to,
		what, last.Version, formatPast(last.ChangedAt, time.Now(), false), cmp.Or(printable(changedBy(last)), "somebody else")); err != nil {
		return err
	}
	w, err := s.RollbackSecret(cmd.Context(), org.ID, name, rb.to)
	if errors.Is(err, client.ErrNotFound) {
		err = noValueError(name, rb.to)
	}
	if err != nil {
		return err
	}
	return rb.r.written(cmd, org, w, fmt.Sprintf("Rolled %s back to version %d", printable(name), rb.to), "That is its value")
}

// all rolls all secrets back.
func (rb *secretRollback) all(cmd *cobra.Command, arg string) error {
	s, org, version, err := rb.r.openVersion(cmd, arg)
	if err != nil {
		return err
	}
	history, err := s.History(cmd.Context(), org.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(history, func(v client.Version) bool { return v.Number == version })
	if at < 0 {
		return withHint(fmt.Errorf("version %d is not stored", version), `"fluxkeep secret history" shows the stored versions`)
	}
	touched := touchedSince(history, version)
	if err := confirm(cmd, rb.yes, "Roll %s back to version %d of %s, with %s? Touched since: %s.", printable(org.Name), version,
		formatTime(history[at].CreatedAt), count(history[at].Count, "secret"), some(touched, 10)); err != nil {
		return err
	}
	w, err := s.Rollback(cmd.Context(), org.ID, version)
	if err != nil {
		return err
	}
	if err := rb.r.written(cmd, org, w, fmt.Sprintf("Rolled back to version %d", version), "That is what there is"); err != nil {
		return err
	}
	if history[at].Pinned {
		rb.r.note(cmd, "Version %d is still pinned; unpin it with: fluxkeep secret unpin %d", version, version)
	}
	return nil
}

// touchedSince lists the names that versions after the one given have changed.
func touchedSince(history []client.Version, version uint64) []string {
	names := make(map[string]bool)
	for _, v := range history {
		if v.Number <= version {
			continue
		}
		for _, list := range [][]string{v.Added, v.Changed, v.Removed} {
			for _, n := range list {
				names[n] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// openVersion connects for a command whose argument is a version's number.
func (r *remote) openVersion(cmd *cobra.Command, arg string) (*session, client.Organization, uint64, error) {
	version, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || version == 0 {
		return nil, client.Organization{}, 0, usageError(cmd, fmt.Errorf("%q is no version: it is a number from 1 on", arg))
	}
	s, org, err := r.open(cmd)
	return s, org, version, err
}

func newSecretUnpinCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "unpin VERSION",
		Short: "Unpin a version",
		Long: `Unpin a version that the drop guard has pinned. It is then pruned by age like any other.
See "fluxkeep secret history".`,
		Example:           `  fluxkeep secret unpin 7`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeVersions),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, version, err := r.openVersion(cmd, args[0])
			if err != nil {
				return err
			}
			if err := s.Unpin(cmd.Context(), org.ID, version); err != nil {
				return err
			}
			r.note(cmd, "Version %d of %s is no longer pinned.", version, printable(org.Name))
			return nil
		},
	}
}
