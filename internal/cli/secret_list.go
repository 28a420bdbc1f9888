package cli

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

type secretList struct {
	r      *remote
	filter string
	sort   listOrder
	long   bool
	utc    bool
}

func newSecretListCommand(r *remote) *cobra.Command {
	l := secretList{r: r, sort: byName}
	cmd := &cobra.Command{
		Use:     "list [PATTERN…]",
		Aliases: []string{"ls"},
		Short:   "List secrets and their last changes",
		Long: `List an organization's secrets: when and by whom each was last changed, and in which
version. The server knows that as long as the secret exists, however often others
change. Values are not shown.

With patterns, list only names that match one of them. In a pattern, * matches any text.
A pattern that matches nothing is an error; a --filter that matches nothing is not.`,
		Example: `  fluxkeep secret list
  fluxkeep secret list 'db_*'
  fluxkeep secret list --sort changed
  fluxkeep secret list --long --utc
  fluxkeep secret list --quiet | wc -l`,
		Args:              arguments(0, -1),
		ValidArgsFunction: r.completeSecrets,
		RunE:              l.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&l.filter, "filter", "", "list only names that contain this `text`, or match it as a pattern")
	fs.Var(&l.sort, "sort", "`order` of the list: name, changed (the latest first), by or version")
	fs.BoolVarP(&l.long, "long", "l", false, "also show the protocol of the change, and the last reader")
	addUTC(cmd, &l.utc)
	completeValues(cmd, "sort", string(byName), string(byChange), string(byAuthor), string(byVersion))
	return cmd
}

// listOrder is the order of a list of secrets.
type listOrder string

const (
	byName    listOrder = "name"
	byChange  listOrder = "changed"
	byAuthor  listOrder = "by"
	byVersion listOrder = "version"
)

func (o *listOrder) String() string { return string(*o) }
func (o *listOrder) Type() string   { return "order" }

// Set implements pflag.Value.
func (o *listOrder) Set(s string) error {
	switch v := listOrder(s); v {
	case byName, byChange, byAuthor, byVersion:
		*o = v
		return nil
	}
	return errors.New("it is name, changed, by or version")
}

// listedSecret is a secret with its last change.
type listedSecret struct {
	client.SecretChange
	LastRead *client.SecretReader `json:"lastRead,omitempty"` // with --long
}

func (l *secretList) run(cmd *cobra.Command, patterns []string) error {
	s, org, err := l.r.open(cmd)
	if err != nil {
		return err
	}
	list, err := l.find(cmd, s, org, patterns)
	if err != nil {
		return err
	}
	now := time.Now()
	t := table{header: []string{"NAME", "CHANGED", "BY", "VERSION"}}
	if l.long {
		t.header = append(t.header, "VIA", "READ", "BY")
	}
	for _, found := range list {
		cells := []string{found.Name, formatPast(found.ChangedAt, now, l.utc), changedBy(found.SecretChange), strconv.FormatUint(found.Version, 10)}
		if l.long {
			cells = append(cells, found.Protocol)
			if read := found.LastRead; read != nil {
				cells = append(cells, formatPast(read.ReadAt, now, l.utc), readerName(*read))
			}
		}
		t.add(found.Name, cells...)
	}
	return l.r.print(cmd, orEmpty(list), &t)
}

// find returns the secrets to list, in their order.
func (l *secretList) find(cmd *cobra.Command, s *session, org client.Organization, patterns []string) ([]listedSecret, error) {
	changes, _, err := s.SecretChanges(cmd.Context(), org.ID, nil)
	if err != nil {
		return nil, err
	}
	names := func(yield func(string) bool) {
		for _, c := range changes {
			if !yield(c.Name) {
				return
			}
		}
	}
	if missing := unmatched(patterns, names); len(missing) > 0 {
		return nil, missingError(missing)
	}
	var list []listedSecret
	for _, c := range changes {
		if (len(patterns) == 0 || matchesAny(patterns, c.Name)) && (strings.Contains(c.Name, l.filter) || matches(l.filter, c.Name)) {
			list = append(list, listedSecret{SecretChange: c})
		}
	}
	if l.long {
		if err := addReaders(cmd, s, org, list); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b listedSecret) int {
		switch l.sort {
		case byChange:
			return cmp.Compare(b.Version, a.Version)
		case byVersion:
			return cmp.Compare(a.Version, b.Version)
		case byAuthor:
			return cmp.Compare(changedBy(a.SecretChange), changedBy(b.SecretChange))
		}
		return 0 // as the server sorts them
	})
	return list, nil
}

// addReaders adds the last reader of each secret.
func addReaders(cmd *cobra.Command, s *session, org client.Organization, list []listedSecret) error {
	readers, err := s.Readers(cmd.Context(), org.ID)
	if err != nil {
		return err
	}
	last := make(map[string]*client.SecretReader, len(readers))
	for _, secret := range readers {
		if len(secret.Readers) > 0 {
			last[secret.Name] = &secret.Readers[0]
		}
	}
	for i := range list {
		list[i].LastRead = last[list[i].Name]
	}
	return nil
}

// changedBy names the author of a change: a token by its description or ID, a user
// by name.
func changedBy(c client.SecretChange) string {
	return cmp.Or(c.Description, c.User, c.TokenID, c.UserID)
}
