package cli

import (
	"cmp"
	"fmt"
	"os"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
)

type setupCommand struct {
	newProfile
	request  client.SetupRequest
	password input
}

func newSetupCommand() *cobra.Command {
	var s setupCommand
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Set up a new server: first user, first organization, first token",
		Long: `Set up a new server: create the first user, the first organization and an operator
token, which may do everything, and add a profile with that token to the influx CLI's
configs file. Existing profiles stay; one with the same name is not overwritten without
--force.

"fluxkeep" and "influx" use the active profile by default. The new profile becomes
active if none was. Otherwise setup asks; without a terminal, the active profile changes
only with --activate.

The command prompts for anything that you don't give by a flag. Without a terminal, it
reads the password from standard input.`,
		Example: `  # prompt for everything
  fluxkeep setup

  # without prompts, the password from a file
  fluxkeep setup --username admin --org acme --password-file pw.txt

  # another server, with its own profile
  fluxkeep setup --host https://keep.example.com --name production`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.password.hasValue = cmd.Flags().Changed("password")
			return s.run(cmd)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&s.request.Username, "username", "u", "", "`name` of the first user")
	fs.StringVarP(&s.password.value, "password", "p", "", "`password` of the first user; it is visible in the process list")
	fs.StringVar(&s.password.file, "password-file", "", "`file` with the password of the first user; \"-\" for standard input")
	fs.StringVarP(&s.request.Org, "org", "o", "", "`name` of the first organization")
	fs.StringVarP(&s.request.Bucket, "bucket", "b", "default", "`name` of a bucket, which the protocol requires and Fluxkeep ignores")
	fs.StringVarP(&s.request.Token, "token", "t", "", "operator `token` to create (default: a random one) [$INFLUX_TOKEN]")
	s.newProfile.addFlags(cmd, fs)
	cmd.MarkFlagsMutuallyExclusive("password", "password-file")
	return cmd
}

func (s *setupCommand) run(cmd *cobra.Command) error {
	settings, err := profile.ResolveServer(&s.flags, os.Getenv)
	if err != nil {
		return err
	}
	c, err := newClient(settings)
	if err != nil {
		return err
	}
	s.server = settings
	allowed, err := c.SetupAllowed(cmd.Context())
	if err != nil {
		return err
	}
	if !allowed {
		return withHint(fmt.Errorf("the server at %s was set up before", settings.Host),
			`sign in with "fluxkeep login", or use one of its tokens: "fluxkeep config create" makes a profile with it`)
	}
	w, err := s.writer()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := s.ask(cmd); err != nil {
		return err
	}
	if err := s.askActive(cmd, w.Before()); err != nil {
		return err
	}
	result, err := c.Setup(cmd.Context(), s.request)
	if err != nil {
		return err
	}
	if err := w.Write(profile.Profile{URL: settings.Host, Token: result.Auth.Token, Org: result.Org.Name, Active: s.activate}); err != nil {
		// The token exists nowhere else.
		fmt.Fprintln(cmd.OutOrStdout(), result.Auth.Token)
		return withHint(err, "the server is set up: keep the operator token printed above")
	}
	return s.report(cmd, result, w.Before())
}

// ask completes the request.
func (s *setupCommand) ask(cmd *cobra.Command) error {
	q := &s.request
	q.Token = cmp.Or(q.Token, os.Getenv("INFLUX_TOKEN"))
	for _, f := range []struct {
		value        *string
		prompt, flag string
	}{{&q.Username, "Name of the first user: ", "--username"}, {&q.Org, "Name of the first organization: ", "--org"}} {
		if *f.value == "" && interactive(cmd) {
			var err error
			if *f.value, err = ask(cmd, f.prompt); err != nil {
				return err
			}
		}
		if *f.value == "" {
			return usageError(cmd, fmt.Errorf("%s is missing", f.flag))
		}
	}
	var err error
	q.Password, err = s.password.readCredential(cmd, "Password", true)
	return err
}

func (s *setupCommand) report(cmd *cobra.Command, r client.SetupResult, before profile.Profile) error {
	t := table{header: []string{"USER", "ORGANIZATION", "ORGANIZATION ID", "PROFILE"}}
	t.add(r.Org.ID, r.User.Name, r.Org.Name, r.Org.ID, s.name)
	value := struct {
		User    string `json:"user"`
		UserID  string `json:"userID"`
		Org     string `json:"organization"`
		OrgID   string `json:"orgID"`
		Profile string `json:"profile"`
		Active  bool   `json:"active"`
	}{r.User.Name, r.User.ID, r.Org.Name, r.Org.ID, s.name, s.activate}
	if err := s.print(cmd, value, &t); err != nil {
		return err
	}
	s.noteActive(cmd, "The operator token", before)
	return nil
}
