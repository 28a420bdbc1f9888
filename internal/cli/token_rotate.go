package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
)

type tokenRotate struct {
	r       *remote
	expires string
	grace   time.Duration
	yes     bool
}

func newTokenRotateCommand(r *remote) *cobra.Command {
	c := tokenRotate{r: r}
	cmd := &cobra.Command{
		Use:   "rotate [ID]",
		Short: "Replace a token with a new one that has the same rights",
		Long: `Create a token with the rights, limits, user and description of another one, print it,
and then deactivate the old one: after a confirmation, or at once with --yes. With
--grace, the command waits before it deactivates the old token, so programs can change
to the new one. Without a terminal and without --yes, the old token stays active.

Without an ID, the command rotates the token of the profile that it uses, and stores the
new one there instead of printing it.

The old token is deactivated and not deleted: "fluxkeep token activate" brings it back.
You can't create a token with more rights than you have. An expiring token keeps its
time of expiry unless you give --expires.`,
		Example: `  fluxkeep token rotate 0b1c2d3e4f5a6b7c
  fluxkeep token rotate 0b1c2d3e4f5a6b7c --grace 10m --yes --quiet > token

  # your own token, in the profile
  fluxkeep token rotate`,
		Args:              arguments(0, 1),
		ValidArgsFunction: onlyFirst(r.completeTokens),
		RunE:              c.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.expires, "expires", "", "`time` until the new token expires, or at which it expires (default as the old one)")
	fs.DurationVar(&c.grace, "grace", 0, "`time` to wait before the old token is deactivated")
	addYes(cmd, &c.yes)
	return cmd
}

func (c *tokenRotate) run(cmd *cobra.Command, args []string) error {
	expires, err := parseExpiry(c.expires, time.Now())
	if err != nil {
		return usageError(cmd, err)
	}
	s, err := c.r.connect(cmd)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return c.rotateOwn(cmd, s, expires)
	}
	old, err := s.Token(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	fresh, err := c.successor(cmd, s, old, expires)
	if err != nil {
		return err
	}
	if err := c.r.printNewToken(cmd, fresh); err != nil {
		return err
	}
	return c.deactivate(cmd, s, old)
}

// successor creates the new token.
func (c *tokenRotate) successor(cmd *cobra.Command, s *session, old client.Token, expires time.Time) (client.Token, error) {
	switch {
	case old.Status == client.Inactive:
		return client.Token{}, withHint(errors.New("the token is inactive"), `"fluxkeep token create" creates a new one`)
	case c.expires != "":
	case statusOf(old, time.Now()) == "expired":
		return client.Token{}, withHint(errors.New("the token has expired"), "say with --expires when the new one expires")
	default:
		expires = old.ExpiresAt
	}
	return s.CreateToken(cmd.Context(), client.NewToken{
		OrgID: old.OrgID, UserID: old.UserID, Description: old.Description,
		Permissions: old.Permissions, Names: old.Names, ExpiresAt: expires,
	})
}

// rotateOwn replaces the token in the profile.
func (c *tokenRotate) rotateOwn(cmd *cobra.Command, s *session, expires time.Time) error {
	name := s.settings.Profile
	if name == "" || s.settings.TokenFrom != "" || s.settings.Token == "" {
		return withHint(errors.New("the token in use is not from a profile"), `give an ID: "fluxkeep token list" shows them, and "fluxkeep status" shows which one you use`)
	}
	self, err := s.Self(cmd.Context())
	if err != nil {
		return err
	}
	old := client.Token{
		ID: self.TokenID, Status: client.Active, OrgID: self.OrgID, UserID: self.UserID, User: self.User, Description: self.Description,
		Permissions: self.Permissions, Names: self.Names, ExpiresAt: self.ExpiresAt,
	}
	w, p, err := c.profile(name)
	if err != nil {
		return err
	}
	defer w.Close()
	fresh, err := c.successor(cmd, s, old, expires)
	if err != nil {
		return err
	}
	p.Token = fresh.Token
	if err := w.Write(p); err != nil {
		return errors.Join(err, s.DeleteToken(cmd.Context(), fresh.ID)) // nobody has it
	}
	fresh.Token = ""
	t := table{header: []string{"ID", "DESCRIPTION", "EXPIRES", "PROFILE"}}
	t.add(fresh.ID, fresh.ID, fresh.Description, formatTime(fresh.ExpiresAt), name)
	if err := c.r.print(cmd, fresh, &t); err != nil {
		return err
	}
	renewed := s.settings
	renewed.Token = p.Token
	again, err := newClient(renewed)
	if err != nil {
		return err
	}
	return c.deactivate(cmd, &session{again, renewed}, old)
}

// profile prepares to overwrite a profile.
func (c *tokenRotate) profile(name string) (*profile.Writer, profile.Profile, error) {
	f, err := loadProfiles(&c.r.flags)
	if err != nil {
		return nil, profile.Profile{}, err
	}
	w, err := profile.NewWriter(f.Path, name, true)
	return w, f.Profiles[name], err
}

// deactivate deactivates the old token, now that there is a new one.
func (c *tokenRotate) deactivate(cmd *cobra.Command, s *session, old client.Token) error {
	again := fmt.Sprintf("fluxkeep token deactivate %s", old.ID)
	if !c.yes && !interactive(cmd) {
		c.r.note(cmd, "The old token %s is still active; deactivate it with: %s", old.ID, again)
		return nil
	}
	err := confirm(cmd, c.yes, "Deactivate the old token %s (%s) now?", old.ID, printable(old.Description))
	if errors.Is(err, errNotConfirmed) {
		c.r.note(cmd, "The old token is still active; deactivate it with: %s", again)
		return nil
	}
	if err != nil {
		return err
	}
	if c.grace > 0 {
		c.r.note(cmd, "The old token is deactivated in %s.", c.grace)
		select {
		case <-time.After(c.grace):
		case <-cmd.Context().Done():
			return withHint(errors.New("interrupted: the old token is still active"), "deactivate it with: %s", again)
		}
	}
	if _, err := s.UpdateToken(cmd.Context(), old.ID, client.TokenUpdate{Status: new(client.Inactive)}); err != nil {
		return withHint(fmt.Errorf("the new token exists, and the old one is still active: %w", err), "deactivate it with: %s", again)
	}
	c.r.note(cmd, "The old token %s is inactive; if something still needs it: fluxkeep token activate %s", old.ID, old.ID)
	return nil
}
