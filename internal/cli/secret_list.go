package cli

import (
	"slices"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newSecretListCommand(r *remote) *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:     "list [PATTERN…]",
		Aliases: []string{"ls"},
		Short:   "List the names of secrets",
		Long: `List the names of an organization's secrets in byte order. With patterns, list only
names that match one of them. In a pattern, * matches any text. A pattern that matches
nothing is an error.

--long adds the version in which each secret was last set, when, and by whom, if that
version is still stored.`,
		Example: `  fluxkeep secret list
  fluxkeep secret list 'db_*'
  fluxkeep secret list --long
  fluxkeep secret list --quiet | wc -l`,
		Args:              arguments(0, -1),
		ValidArgsFunction: r.completeSecrets,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			s, org, err := r.open(cmd)
			if err != nil {
				return err
			}
			names, err := s.SecretNames(cmd.Context(), org.ID)
			if err != nil {
				return err
			}
			if missing := unmatched(patterns, slices.Values(names)); len(missing) > 0 {
				return missingError(missing)
			}
			names = slices.DeleteFunc(names, func(n string) bool { return len(patterns) > 0 && !matchesAny(patterns, n) })
			if long {
				return r.listLong(cmd, s, org, names)
			}
			t := table{header: []string{"NAME"}}
			for _, n := range names {
				t.add(n, n)
			}
			return r.print(cmd, orEmpty(names), &t)
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show the last change of each secret")
	return cmd
}

// listedSecret is a name with its last known change.
type listedSecret struct {
	Name      string    `json:"name"`
	Version   uint64    `json:"version,omitempty"`
	ChangedAt time.Time `json:"changedAt,omitzero"`
	ChangedBy string    `json:"changedBy,omitempty"`
}

func (r *remote) listLong(cmd *cobra.Command, s *session, org client.Organization, names []string) error {
	history, err := s.History(cmd.Context(), org.ID)
	if err != nil {
		return err
	}
	last := make(map[string]*client.Version)
	for i := range history { // newest first
		for _, list := range [][]string{history[i].Added, history[i].Changed} {
			for _, n := range list {
				if last[n] == nil {
					last[n] = &history[i]
				}
			}
		}
	}
	who := newActors(s)
	t := table{header: []string{"NAME", "VERSION", "CHANGED", "BY"}}
	list := make([]listedSecret, 0, len(names))
	for _, n := range names {
		l := listedSecret{Name: n}
		if v := last[n]; v != nil {
			l.Version, l.ChangedAt, l.ChangedBy = v.Number, v.CreatedAt, who.name(cmd, v.UserID)
			t.add(n, n, strconv.FormatUint(v.Number, 10), formatTime(v.CreatedAt), l.ChangedBy)
		} else {
			t.add(n, n, "", "earlier", "")
		}
		list = append(list, l)
	}
	return r.print(cmd, list, &t)
}

// actors looks up each user's name once. If the token may not read a user, the
// name is the ID.
type actors struct {
	s     *session
	names map[string]string
}

func newActors(s *session) *actors { return &actors{s, map[string]string{}} }

func (a *actors) name(cmd *cobra.Command, id string) string {
	if id == "" {
		return ""
	}
	name, ok := a.names[id]
	if !ok {
		name = id
		if u, err := a.s.User(cmd.Context(), id); err == nil {
			name = u.Name
		}
		a.names[id] = name
	}
	return name
}
