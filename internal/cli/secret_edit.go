package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/secretfile"
	"github.com/spf13/cobra"
)

type secretEdit struct {
	r          *remote
	onDisk     bool
	yes        bool
	allowEmpty bool

	// Of the edit that is under way.
	session *session
	org     client.Organization
	editor  *editor
	name    string // the secret to edit, "" for all
}

func newSecretEditCommand(r *remote) *cobra.Command {
	c := secretEdit{r: r}
	cmd := &cobra.Command{
		Use:   "edit [NAME]",
		Short: "Edit secrets in your editor",
		Long: `Edit the value of a secret, or all secrets as YAML, in $VISUAL, $EDITOR or vi. A name that
doesn't exist is created. After the editor ends, the command shows which names would be
added, changed and removed, without values, and on a terminal asks for confirmation.

The values are in a file that only you can read, on a file system in memory (which the
system can swap out), and which is removed at the end. Where there is no such file
system, --on-disk is required. If the command is killed, the next "fluxkeep secret edit"
removes the file. Check that your editor doesn't copy texts to places of
its own; Vim is told not to.

If somebody else changes secrets in the meantime, your changes are added to theirs. If
both changed the same secret, nothing is written, and on a terminal you can edit again.`,
		Example: `  fluxkeep secret edit db_password
  fluxkeep secret edit
  EDITOR='code --wait' fluxkeep secret edit`,
		Args:              arguments(0, 1),
		ValidArgsFunction: onlyFirst(r.completeSecrets),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if c.name = args[0]; c.name == "" {
					return errors.New("the name is empty")
				}
			}
			return c.run(cmd)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&c.onDisk, "on-disk", false, "edit in a file on disk if there is no file system in memory")
	fs.BoolVar(&c.allowEmpty, "allow-empty", false, "set an empty value")
	addYes(cmd, &c.yes)
	fs.Lookup("yes").Usage = yesToRemove
	return cmd
}

func (c *secretEdit) run(cmd *cobra.Command) (err error) {
	if c.session, c.org, err = c.r.open(cmd); err != nil {
		return err
	}
	base, err := c.read(cmd)
	if err != nil {
		return err
	}
	if c.editor, err = newEditor(cmd, c.onDisk); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.editor.close()) }()
	text, err := c.text(base.Secrets)
	if err != nil {
		return err
	}
	for {
		if text, err = c.editor.edit(c.file(), text); err != nil {
			return err
		}
		next, err := c.save(cmd, &base, text)
		if err == nil || !interactive(cmd) || cmd.Context().Err() != nil {
			return err
		}
		printError(cmd.ErrOrStderr(), err)
		if err := confirm(cmd, false, "Edit again?"); err != nil {
			return err
		}
		text = next
	}
}

func (c *secretEdit) read(cmd *cobra.Command) (client.Values, error) {
	q := &client.ValuesQuery{}
	if c.name != "" {
		q.Names = []string{c.name}
	}
	v, _, err := c.session.Values(cmd.Context(), c.org.ID, q)
	return v, err
}

func (c *secretEdit) file() string {
	if c.name != "" {
		return "value.txt"
	}
	return "secrets.yaml"
}

// text returns the text to edit.
func (c *secretEdit) text(secrets map[string]string) (string, error) {
	if c.name != "" {
		return secrets[c.name], nil
	}
	head := fmt.Sprintf("# The secrets of %s. A new line adds a secret, and removing one removes it.\n", printable(c.org.Name))
	text, err := secretfile.Append([]byte(head), secretfile.YAML, secrets)
	return string(text), err
}

// parse reads the edited text.
func (c *secretEdit) parse(base map[string]string, text string) (map[string]string, error) {
	if c.name == "" {
		secrets, err := secretfile.Parse(secretfile.YAML, []byte(text))
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(secrets)) {
			if err := checkSecret(name, secrets[name]); err != nil {
				return nil, err
			}
		}
		return secrets, nil
	}
	before, exists := base[c.name]
	if text == before && exists {
		return base, nil
	}
	// Most editors end the last line.
	if !strings.HasSuffix(before, "\n") {
		text = trimLineEnd(text)
	}
	if text == "" && !c.allowEmpty {
		return nil, errors.New("the value is empty: set an empty value with --allow-empty")
	}
	return map[string]string{c.name: text}, checkSecret(c.name, text)
}

// save writes the edited text. If it can't, it returns the text to edit again,
// and base holds what that is based on.
func (c *secretEdit) save(cmd *cobra.Command, base *client.Values, text string) (next string, err error) {
	edited, err := c.parse(base.Secrets, text)
	if err != nil {
		return text, fmt.Errorf("nothing was saved: %w", err)
	}
	change := compareSecrets(base.Secrets, edited)
	if change.empty() {
		c.r.note(cmd, "Nothing was edited: nothing has changed.")
		return "", nil
	}
	if err := c.confirm(cmd, change); err != nil {
		return text, err
	}
	for range updateAttempts {
		w, err := c.session.WriteValues(cmd.Context(), c.org.ID, change.values(edited), &client.WriteOptions{IfMatch: base.ETag})
		if err == nil {
			names := slices.Concat(change.Added, change.Changed, change.Removed)
			slices.Sort(names)
			return "", c.r.written(cmd, c.org, w, "Saved "+some(names, 10), "Somebody else made the same changes")
		}
		if !errors.Is(err, client.ErrChanged) {
			return text, err
		}
		now, err := c.read(cmd)
		if err != nil {
			return text, err
		}
		base.ETag = now.ETag
		clash := conflicts(base.Secrets, edited, now.Secrets)
		if len(clash) == 0 {
			continue
		}
		// Start again from what is there, with the same edits.
		*base = now
		merged := maps.Clone(now.Secrets)
		for name, value := range change.values(edited) {
			if delete(merged, name); value != nil {
				merged[name] = *value
			}
		}
		err = withHint(fmt.Errorf("nothing was saved: somebody else has changed %s in the meantime", some(clash, 10)),
			"saving again replaces their change, which stays in the history")
		if c.name != "" {
			return text, err
		}
		next, terr := c.text(merged)
		return next, errors.Join(err, terr)
	}
	return text, withHint(errors.New("nothing was saved: the secrets change all the time"), "try again")
}

// conflicts returns the names that are edited and have also been changed to
// something else since base.
func conflicts(base, edited, now map[string]string) []string {
	var out []string
	c := compareSecrets(base, edited)
	for _, name := range slices.Concat(c.Added, c.Changed, c.Removed) {
		was, had := base[name]
		is, has := now[name]
		to, stays := edited[name]
		if (is != was || has != had) && (is != to || has != stays) {
			out = append(out, name)
		}
	}
	return out
}

// confirm shows what would change, and asks.
func (c *secretEdit) confirm(cmd *cobra.Command, change *secretChange) error {
	if !c.r.structured() && !c.r.quiet {
		if err := change.print(cmd.ErrOrStderr(), 20); err != nil {
			return err
		}
	}
	return confirm(cmd, c.yes || len(change.Removed) == 0 && !interactive(cmd), "Save to %s?", printable(c.org.Name))
}
