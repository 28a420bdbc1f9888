package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretHistoryCommand(r *remote) *cobra.Command {
	var names, utc bool
	cmd := &cobra.Command{
		Use:     "history [NAME]",
		Aliases: []string{"log"},
		Short:   "Show the stored versions, or the changes of one secret",
		Long: `Show the stored versions of an organization's secrets, newest first: when each was
written, by whom, by which protocol, and which names it added (+), changed (~) and
removed (-). Values are not shown.

With a name, show the last changes of that secret, however often others changed. Each can
be read with "fluxkeep secret get NAME --version N" and brought back with "fluxkeep secret
rollback NAME --to N". The history of a secret that was removed ends when the versions
that had it are no longer stored.

The drop guard pins a version when the next one, written by an influxd or by "telegraf
secrets set", may have dropped secrets by accident. A pinned version stays stored until
you unpin it, even after a rollback to it.`,
		Example: `  fluxkeep secret history
  fluxkeep secret history db_password
  fluxkeep secret history --names --utc
  fluxkeep secret history --json | jq '.[0].removed'`,
		Args:              arguments(0, 1),
		ValidArgsFunction: onlyFirst(r.completeSecrets),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return r.printSecretHistory(cmd, s, org, args[0], utc)
			}
			history, err := s.History(cmd.Context(), org.ID)
			if err != nil {
				return err
			}
			by := authors{s: s, names: map[string]string{}}
			most := 3
			if names {
				most = 1 << 30
			}
			now := time.Now()
			t := table{header: []string{"VERSION", "CREATED", "BY", "VIA", "SECRETS", "CHANGES", "REMARKS"}}
			for _, v := range history {
				n := strconv.FormatUint(v.Number, 10)
				t.add(n, n, formatPast(v.CreatedAt, now, utc), by.name(cmd, v), v.Protocol,
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
	addUTC(cmd, &utc)
	return cmd
}

// printSecretHistory shows the changes of one secret.
func (r *remote) printSecretHistory(cmd *cobra.Command, s *session, org client.Organization, name string, utc bool) error {
	history, err := s.SecretHistory(cmd.Context(), org.ID, name)
	if errors.Is(err, client.ErrNotFound) {
		return missingError([]string{name})
	}
	if err != nil {
		return err
	}
	now := time.Now()
	t := table{header: []string{"VERSION", "CHANGED", "BY", "VIA", "REMARKS"}}
	for i, c := range history {
		remark := ""
		switch {
		case c.Removed:
			remark = "removed"
		case c.Hidden:
			remark = "hidden: its versions are deleted"
		case i == 0:
			remark = "the current value"
		}
		n := strconv.FormatUint(c.Version, 10)
		t.add(n, n, formatPast(c.ChangedAt, now, utc), changedBy(c), c.Protocol, remark)
	}
	return r.print(cmd, orEmpty(history), &t)
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

// authors names the authors of versions as changedBy does, and looks up each token once.
type authors struct {
	s     *session
	names map[string]string // by token and user
}

func (a *authors) name(cmd *cobra.Command, v client.Version) string {
	id := v.TokenID + " " + v.UserID
	name, ok := a.names[id]
	if !ok {
		c := client.SecretChange{TokenID: v.TokenID, UserID: v.UserID}
		// Without the right to read a token or user, the name is its ID.
		if v.TokenID != "" {
			if t, err := a.s.Token(cmd.Context(), v.TokenID); err == nil {
				c.Description = t.Description
			}
		}
		if c.Description == "" && v.UserID != "" {
			if u, err := a.s.User(cmd.Context(), v.UserID); err == nil {
				c.User = u.Name
			}
		}
		name = changedBy(c)
		a.names[id] = name
	}
	return name
}
