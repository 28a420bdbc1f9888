package cli

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
)

// loginDescription begins the description of tokens that login creates, by
// which logout recognizes them.
const loginDescription = "fluxkeep login"

type loginCommand struct {
	newProfile
	user          string
	password      input
	org           string
	expires       string
	storePassword bool
}

func newLoginCommand() *cobra.Command {
	var l loginCommand
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in with a password and store a token as a profile",
		Long: `Sign in to a server with a user name and a password, create a token with your rights in
an organization, and store it as a profile in the influx CLI's configs file. The influx
CLI can use the profile too. The password isn't stored. "fluxkeep logout" deletes the
token and the profile. Without --host, the server is that of the active profile.

A token that expires can't change users, organizations or members, so by default it
doesn't expire.

Members who may only read can't create tokens. For them, --store-password stores user
name and password in the profile instead, as "influx config create --username-password"
does.`,
		Example: `  # prompt for user and password
  fluxkeep login --host https://keep.example.com --name production

  # without prompts
  fluxkeep login --host https://keep.example.com --username ann --org acme --password-file pw.txt

  # for a day
  fluxkeep login --username ann --expires 24h`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&l.user, "username", "u", "", "`name` of the user")
	fs.StringVar(&l.password.file, "password-file", "", "`file` with the password; \"-\" for standard input")
	fs.StringVarP(&l.org, "org", "o", "", "`name` or ID of the organization (default: the only one)")
	fs.StringVar(&l.expires, "expires", "", "`time` until the token expires, or at which it expires (default never)")
	fs.BoolVar(&l.storePassword, "store-password", false, "store user name and password instead of a token")
	cmd.MarkFlagsMutuallyExclusive("expires", "store-password")
	l.addFlags(cmd, fs)
	return cmd
}

func (l *loginCommand) run(cmd *cobra.Command) error {
	expires, err := parseExpiry(l.expires, time.Now())
	if err != nil {
		return usageError(cmd, err)
	}
	// Unlike setup, a login is for a server that is in use: by default, the
	// active profile's.
	settings, err := profile.Resolve(&l.flags, os.Getenv)
	if err != nil {
		return err
	}
	settings = profile.Settings{Host: settings.Host, SkipVerify: settings.SkipVerify, Profile: settings.Profile}
	c, err := newClient(settings)
	if err != nil {
		return err
	}
	l.server = settings
	w, err := l.writer()
	if err != nil {
		return err
	}
	defer w.Close()
	password, err := l.signIn(cmd, c)
	if err != nil {
		return err
	}
	s := &session{c, settings}
	defer s.SignOut(cmd.Context())
	org, err := l.organization(cmd, s)
	if err != nil {
		return err
	}
	if err := l.askActive(cmd, w.Before()); err != nil {
		return err
	}
	p := profile.Profile{URL: settings.Host, Org: org.Name, Active: l.activate}
	if l.storePassword {
		p.Cookie = base64.StdEncoding.EncodeToString([]byte(l.user + ":" + password))
		if err := w.Write(p); err != nil {
			return err
		}
		return l.report(cmd, "The password", client.Token{User: l.user, Org: org.Name}, w.Before())
	}
	token, err := createLoginToken(cmd, s, org, expires)
	if err != nil {
		return err
	}
	p.Token = token.Token
	if err := w.Write(p); err != nil {
		return errors.Join(err, s.DeleteToken(cmd.Context(), token.ID)) // nobody has it
	}
	return l.report(cmd, "The token", token, w.Before())
}

// signIn asks for what is missing and signs in.
func (l *loginCommand) signIn(cmd *cobra.Command, c *client.Client) (password string, err error) {
	if l.user == "" && interactive(cmd) {
		if l.user, err = ask(cmd, "User name: "); err != nil {
			return "", err
		}
	}
	if l.user == "" {
		return "", usageError(cmd, errors.New("--username is missing"))
	}
	if password, err = l.password.readCredential(cmd, "Password", false); err != nil {
		return "", err
	}
	err = c.SignIn(cmd.Context(), l.user, password)
	if errors.Is(err, client.ErrUnauthorized) {
		err = withHint(errors.New("the server refused the user name or the password"), `an operator can set another password with "fluxkeep user password NAME"`)
	}
	return password, err
}

// organization finds the organization, which needs no name if there is one.
func (l *loginCommand) organization(cmd *cobra.Command, s *session) (client.Organization, error) {
	if ref := cmp.Or(l.org, os.Getenv("INFLUX_ORG"), os.Getenv("INFLUX_ORG_ID")); ref != "" {
		return s.findOrg(cmd, ref)
	}
	all, err := s.Organizations(cmd.Context())
	if err != nil {
		return client.Organization{}, err
	}
	names := make([]string, len(all))
	for i, o := range all {
		names[i] = o.Name
	}
	slices.Sort(names)
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0:
		return client.Organization{}, withHint(fmt.Errorf("%s is in no organization", l.user), `an owner adds members with "fluxkeep org members add"`)
	case !interactive(cmd):
		return client.Organization{}, withHint(errors.New("there is more than one organization"), "choose one with --org: %s", some(names, 20))
	}
	name, err := ask(cmd, fmt.Sprintf("Organization (%s): ", some(names, 20)))
	if err != nil {
		return client.Organization{}, err
	}
	return s.findOrg(cmd, name)
}

// createLoginToken creates a token with the rights that a session has in an
// organization; for an operator, in all.
func createLoginToken(cmd *cobra.Command, s *session, org client.Organization, expires time.Time) (client.Token, error) {
	self, err := s.Self(cmd.Context())
	if err != nil {
		return client.Token{}, err
	}
	n := client.NewToken{OrgID: org.ID, Description: loginDescription, ExpiresAt: expires}
	if host, err := os.Hostname(); err == nil {
		n.Description += " on " + host
	}
	if self.Operator {
		if n.Permissions, err = s.allPermissions(cmd.Context(), ""); err != nil {
			return client.Token{}, err
		}
	} else {
		n.Permissions = permissionsIn(self, org.ID)
	}
	token, err := s.CreateToken(cmd.Context(), n)
	if refused, ok := errors.AsType[*client.Error](err); ok && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) {
		err = withHint(fmt.Errorf("you may not create a token in %s: %w", printable(org.Name), err),
			`ask an owner for one ("fluxkeep token create --user NAME --read-secrets") and store it with "fluxkeep config create", or use --store-password`)
	}
	return token, err
}

// permissionsIn returns the caller's permissions in one organization and on the
// own account.
func permissionsIn(self client.Self, orgID string) []client.Permission {
	var out []client.Permission
	for _, p := range self.Permissions {
		r := p.Resource
		switch {
		case r.Type == "instance": // not for tokens
		case r.OrgID == orgID, r.Type == "orgs" && r.ID == orgID, r.Type == "users" && r.ID == self.UserID:
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

func (l *loginCommand) report(cmd *cobra.Command, what string, token client.Token, before profile.Profile) error {
	t := table{header: []string{"USER", "ORGANIZATION", "PROFILE", "EXPIRES"}}
	t.add(l.name, l.user, token.Org, l.name, formatTime(token.ExpiresAt))
	value := struct {
		User      string    `json:"user"`
		Org       string    `json:"organization"`
		Profile   string    `json:"profile"`
		Active    bool      `json:"active"`
		TokenID   string    `json:"tokenID,omitempty"`
		ExpiresAt time.Time `json:"expiresAt,omitzero"`
	}{l.user, token.Org, l.name, l.activate, token.ID, token.ExpiresAt}
	if err := l.print(cmd, value, &t); err != nil {
		return err
	}
	l.noteActive(cmd, what, before)
	return nil
}

func newLogoutCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Delete the token that login created, and its profile",
		Long: `Delete the token that "fluxkeep login" created from the server, and its profile from the
influx CLI's configs file. --active-config selects a profile other than the active one.

A token that another command created is not deleted. "fluxkeep config remove" removes
only a profile.`,
		Example: `  fluxkeep logout
  fluxkeep logout --active-config production`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return logout(cmd, r) },
	}
	r.addToOperator(cmd)
	_ = cmd.Flags().MarkHidden("token")
	return cmd
}

func logout(cmd *cobra.Command, r *remote) error {
	settings, err := profile.Resolve(&r.flags, os.Getenv)
	if err != nil {
		return err
	}
	if settings.Profile == "" || settings.TokenFrom != "" {
		return withHint(errors.New("there is no profile to log out of"), "choose one with --active-config, and unset INFLUX_TOKEN")
	}
	if settings.Withheld != "" {
		return withheldError(settings)
	}
	path, err := r.flags.Path(os.Getenv)
	if err != nil {
		return err
	}
	if settings.Token != "" {
		if err := revokeLogin(cmd, r, settings.Profile); err != nil {
			return err
		}
	}
	if err := profile.Remove(path, settings.Profile); err != nil {
		return err
	}
	r.note(cmd, "Logged out of %s and removed the profile %q.", profile.Redacted(settings.Host), settings.Profile)
	return noteLeft(cmd, &r.output, path)
}

// revokeLogin deletes the profile's token, if login created it.
func revokeLogin(cmd *cobra.Command, r *remote, name string) error {
	s, err := r.connect(cmd)
	if err != nil {
		return err
	}
	self, err := s.Self(cmd.Context())
	switch {
	case errors.Is(err, client.ErrUnauthorized) && !isPermission(err):
		r.note(cmd, "The server doesn't know the token any more.")
		return nil
	case err != nil:
		return err
	case !strings.HasPrefix(self.Description, loginDescription):
		return withHint(fmt.Errorf("the token of profile %q (%s) was not created by a login", name, printable(self.Description)),
			`to remove only the profile: fluxkeep config remove %s`, name)
	}
	return s.RevokeSelf(cmd.Context())
}
