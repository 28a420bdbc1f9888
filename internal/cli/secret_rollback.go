package cli

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretRollbackCommand(r *remote) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "Roll back to an earlier version",
		Long: `Create a new version with exactly the content of an earlier one. Nothing is lost: the
versions in between stay stored, and you can undo a rollback with another one.

The command shows the names that have changed since and asks for confirmation unless you
give --yes; without a terminal, --yes is required.`,
		Example: `  fluxkeep secret history
  fluxkeep secret rollback 7`,
		Args:              arguments(1, 1),
		ValidArgsFunction: onlyFirst(r.completeVersions),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, version, err := r.openVersion(cmd, args[0])
			if err != nil {
				return err
			}
			history, err := s.History(cmd.Context(), org.ID)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(history, func(v client.Version) bool { return v.Number == version })
			if at < 0 {
				return &client.Error{Status: http.StatusNotFound, Code: client.ErrNotFound, Message: fmt.Sprintf("version %d is not kept", version)}
			}
			touched := touchedSince(history, version)
			if err := confirm(cmd, yes, "Roll %s back to version %d of %s, with %s? Touched since: %s.", printable(org.Name), version,
				formatTime(history[at].CreatedAt), count(history[at].Count, "secret"), some(touched, 10)); err != nil {
				return err
			}
			w, err := s.Rollback(cmd.Context(), org.ID, version)
			if err != nil {
				return err
			}
			if err := r.written(cmd, org, w, fmt.Sprintf("Rolled back to version %d", version), "That is what there is"); err != nil {
				return err
			}
			if history[at].Pinned {
				r.note(cmd, "Version %d is still pinned; unpin it with: fluxkeep secret unpin %d", version, version)
			}
			return nil
		},
	}
	addYes(cmd, &yes)
	return cmd
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
