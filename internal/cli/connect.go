package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
)

// remote holds what commands that talk to a server share.
type remote struct {
	output
	flags  profile.Flags
	server profile.Settings // set by connect
}

// addTo adds the flags to a command and those below it.
func (r *remote) addTo(cmd *cobra.Command) {
	fs := cmd.PersistentFlags()
	r.output.addFlags(cmd, fs)
	r.flags.Add(fs)
	_ = cmd.RegisterFlagCompletionFunc("org", r.completeOrgs)
	_ = cmd.RegisterFlagCompletionFunc("active-config", completeProfiles(&r.flags))
	nameServer(cmd, &r.server)
}

// addToOperator adds the flags to a command about a whole server, not an
// organization.
func (r *remote) addToOperator(cmd *cobra.Command) {
	fs := cmd.Flags()
	r.output.addFlags(cmd, fs)
	r.flags.AddServer(fs)
	fs.StringVarP(&r.flags.Token, "token", "t", "", "`token` of an operator [$INFLUX_TOKEN]")
	_ = cmd.RegisterFlagCompletionFunc("active-config", completeProfiles(&r.flags))
	nameServer(cmd, &r.server)
}

// serverError is an error of a command that talked to a server.
type serverError struct {
	error
	server profile.Settings
}

func (e *serverError) Unwrap() error { return e.error }

// nameServer makes the errors of a command, and of those below it, say which
// server and which profile they are about.
func nameServer(cmd *cobra.Command, server *profile.Settings) {
	for _, c := range cmd.Commands() {
		nameServer(c, server)
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if err != nil && server.Host != "" {
			err = &serverError{err, *server}
		}
		return err
	}
}

// session is a connection to a server, with the settings it was made from.
type session struct {
	*client.Client
	settings profile.Settings
}

// connect finds the server, and signs in if the profile has a password.
func (r *remote) connect(cmd *cobra.Command) (*session, error) {
	s, err := profile.Resolve(&r.flags, os.Getenv)
	if err != nil {
		return nil, err
	}
	c, err := newClient(s)
	if err != nil {
		return nil, err
	}
	r.server = s // not before: a URL that is refused may hold a password
	if s.Withheld != "" {
		return nil, withheldError(s)
	}
	if s.Token == "" && s.User == "" {
		return nil, withHint(errors.New("there is no token for the server"),
			`sign in with "fluxkeep login", set INFLUX_TOKEN, or run "fluxkeep setup" on a new server`)
	}
	if s.User != "" {
		if err := c.SignIn(cmd.Context(), s.User, s.Password); err != nil {
			return nil, err
		}
	}
	return &session{c, s}, nil
}

// withheldError says that the profile's credentials are for another server.
func withheldError(s profile.Settings) error {
	return withHint(fmt.Errorf("profile %q is for %s: its token is not sent to another server", s.Profile, s.Withheld),
		"set INFLUX_TOKEN to a token of this server, or select the server's own profile with --active-config")
}

func newClient(s profile.Settings) (*client.Client, error) {
	c, err := client.New(client.Config{
		URL: s.Host, Token: s.Token,
		HTTPClient: &http.Client{Transport: newFluxkeepOnly(s.Host, &tls.Config{InsecureSkipVerify: s.SkipVerify})}, // off unless asked for
		UserAgent:  "fluxkeep/" + readVersion().Version + " (" + runtime.GOOS + ")",
	})
	if err != nil {
		return nil, withHint(err, "--host, INFLUX_HOST or the profile says where the server is")
	}
	return c, nil
}

// organization finds the organization that the command is about.
func (s *session) organization(cmd *cobra.Command) (client.Organization, error) {
	switch {
	case s.settings.OrgID != "":
		return client.Organization{ID: s.settings.OrgID, Name: s.settings.OrgID}, nil
	case s.settings.Org != "":
		return s.findOrg(cmd, s.settings.Org)
	}
	return client.Organization{}, withHint(errors.New("no organization is given"),
		`give --org NAME, set INFLUX_ORG, or put it into the profile; "fluxkeep org list" shows them`)
}

// open connects and finds the organization that the flags name.
func (r *remote) open(cmd *cobra.Command) (*session, client.Organization, error) {
	s, err := r.connect(cmd)
	if err != nil {
		return nil, client.Organization{}, err
	}
	org, err := s.organization(cmd)
	return s, org, err
}

// findOrg finds an organization by its ID or its name.
func (s *session) findOrg(cmd *cobra.Command, ref string) (client.Organization, error) {
	return find(cmd.Context(), ref, s.Organization, s.OrganizationByName)
}

// findUser finds a user by its ID or its name.
func (s *session) findUser(cmd *cobra.Command, ref string) (client.User, error) {
	return find(cmd.Context(), ref, s.User, s.UserByName)
}

// find finds an object by its ID or its name. A reference that looks like an ID
// is never used as a name.
func find[T any](ctx context.Context, ref string, byID, byName func(context.Context, string) (T, error)) (T, error) {
	if acl.LooksLikeID(ref) {
		return byID(ctx, ref)
	}
	return byName(ctx, ref)
}

// openOrg connects and finds the organization that an argument names.
func (r *remote) openOrg(cmd *cobra.Command, ref string) (*session, client.Organization, error) {
	s, err := r.connect(cmd)
	if err != nil {
		return nil, client.Organization{}, err
	}
	org, err := s.findOrg(cmd, ref)
	return s, org, err
}

// openUser connects and finds the user that an argument names.
func (r *remote) openUser(cmd *cobra.Command, ref string) (*session, client.User, error) {
	s, err := r.connect(cmd)
	if err != nil {
		return nil, client.User{}, err
	}
	user, err := s.findUser(cmd, ref)
	return s, user, err
}
