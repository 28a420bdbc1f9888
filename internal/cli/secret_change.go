package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/fluxkeep/fluxkeep/client"
)

// secretChange describes what a write would change, without values.
type secretChange struct {
	Added     []string `json:"added"`
	Changed   []string `json:"changed"`
	Removed   []string `json:"removed"`
	Unchanged int      `json:"unchanged"`

	etag string // of the secrets that it is based on
}

// compareSecrets returns the changes that lead from before to after.
func compareSecrets(before, after map[string]string) *secretChange {
	c := &secretChange{Added: []string{}, Changed: []string{}, Removed: []string{}}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, ok := before[name]
		switch {
		case !ok:
			c.Added = append(c.Added, name)
		case was != after[name]:
			c.Changed = append(c.Changed, name)
		default:
			c.Unchanged++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			c.Removed = append(c.Removed, name)
		}
	}
	return c
}

func (c *secretChange) empty() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// values returns the change as it is written, with the new values in after.
func (c *secretChange) values(after map[string]string) map[string]*string {
	out := make(map[string]*string)
	for _, name := range slices.Concat(c.Added, c.Changed) {
		out[name] = new(after[name])
	}
	for _, name := range c.Removed {
		out[name] = nil
	}
	return out
}

func (c *secretChange) print(w io.Writer, most int) error {
	for _, list := range []struct {
		sign  string
		names []string
	}{{"+", c.Added}, {"~", c.Changed}, {"-", c.Removed}} {
		for i, n := range list.names {
			if i == most {
				fmt.Fprintf(w, "%s … and %d more\n", list.sign, len(list.names)-most)
				break
			}
			fmt.Fprintf(w, "%s %s\n", list.sign, printable(n))
		}
	}
	_, err := fmt.Fprintf(w, "%d to add, %d to change, %d to remove, %d as they are\n", len(c.Added), len(c.Changed), len(c.Removed), c.Unchanged)
	return err
}

// setAll returns the change that sets secrets.
func setAll(secrets map[string]string) map[string]*string {
	out := make(map[string]*string, len(secrets))
	for name, value := range secrets {
		out[name] = &value
	}
	return out
}

// removeAll returns the change that removes secrets.
func removeAll(names []string) map[string]*string {
	out := make(map[string]*string, len(names))
	for _, name := range names {
		out[name] = nil
	}
	return out
}

// updateAttempts limits how often an update is tried again because somebody
// else wrote in between.
const updateAttempts = 10

// update reads secrets by name, lets change decide what to write, and writes it
// on condition that nothing has changed since. It starts over if something has.
func (s *session) update(ctx context.Context, orgID string, names []string, change func(now map[string]string) (map[string]*string, error)) (client.WriteResult, error) {
	for attempt := 1; ; attempt++ {
		v, _, err := s.Values(ctx, orgID, &client.ValuesQuery{Names: names})
		if err != nil {
			return client.WriteResult{}, err
		}
		write, err := change(v.Secrets)
		if err != nil {
			return client.WriteResult{}, err
		}
		w, err := s.WriteValues(ctx, orgID, write, &client.WriteOptions{IfMatch: v.ETag})
		if attempt == updateAttempts || !errors.Is(err, client.ErrChanged) {
			return w, err
		}
	}
}
