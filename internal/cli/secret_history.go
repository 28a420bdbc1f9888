package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretHistoryCommand(r *remote) *cobra.Command {
	var names bool
	cmd := &cobra.Command{
		Use:     "history",
		Aliases: []string{"log"},
		Short:   "Show the stored versions",
		Long: `Show the stored versions of an organization's secrets, newest first: when each was
written, by whom, by which protocol, and which names it added (+), changed (~) and
removed (-). Values are not shown.

The drop guard pins a version when the next one, written by an influxd or by "telegraf
secrets set", may have dropped secrets by accident. A pinned version stays stored until
you unpin it, even after a rollback to it.`,
		Example: `  fluxkeep secret history
  fluxkeep secret history --names
  fluxkeep secret history --json | jq '.[0].removed'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			history, err := s.History(cmd.Context(), org.ID)
			if err != nil {
				return err
			}
			who := newActors(s)
			most := 3
			if names {
				most = 1 << 30
			}
			t := table{header: []string{"VERSION", "CREATED", "BY", "VIA", "SECRETS", "CHANGES", "REMARKS"}}
			for _, v := range history {
				n := strconv.FormatUint(v.Number, 10)
				t.add(n, n, formatTime(v.CreatedAt), printable(who.name(cmd, v.UserID)), v.Protocol,
					strconv.Itoa(v.Count), changesOf(v, most), remarks(v))
			}
			if err := r.print(cmd, orEmpty(history), &t); err != nil {
				return err
			}
			if pinned := slices.IndexFunc(history, func(v client.Version) bool { return v.Pinned }); pinned >= 0 {
				n := history[pinned].Number
				r.note(cmd, "Version %d is pinned, because the one after it may have dropped secrets: "+
					`"fluxkeep secret rollback %d" brings it back, "fluxkeep secret unpin %d" unpins it.`, n, n, n)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&names, "names", false, "show all names instead of the first few")
	return cmd
}

// changesOf writes what a version changed: +added ~changed -removed.
func changesOf(v client.Version, most int) string {
	var parts []string
	for _, list := range []struct {
		sign  string
		names []string
	}{{"+", v.Added}, {"~", v.Changed}, {"-", v.Removed}} {
		for i, n := range list.names {
			if i == most {
				parts = append(parts, fmt.Sprintf("%s%d more", list.sign, len(list.names)-most))
				break
			}
			parts = append(parts, list.sign+printable(n))
		}
	}
	return strings.Join(parts, " ")
}

func remarks(v client.Version) string {
	var out []string
	if v.RolledBackTo != 0 {
		out = append(out, fmt.Sprintf("back to %d", v.RolledBackTo))
	}
	if v.MergedFrom != 0 {
		out = append(out, fmt.Sprintf("merged with what came after %d", v.MergedFrom))
	}
	if v.Pinned {
		out = append(out, "pinned")
	}
	switch {
	case v.Destroyed:
		out = append(out, "destroyed")
	case !v.DeletedAt.IsZero():
		out = append(out, "deleted "+formatTime(v.DeletedAt))
	}
	return strings.Join(out, ", ")
}
