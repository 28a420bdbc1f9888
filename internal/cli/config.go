package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
)

type configCommand struct {
	output
	flags profile.Flags
}

func newConfigCommand() *cobra.Command {
	c := &configCommand{}
	cmd := group(&cobra.Command{
		Use:   "config",
		Short: "Manage profiles: servers with their tokens",
		Long: `Manage the profiles in the influx CLI's configs file. A profile has a server, a token
and an organization. Commands use the active one unless --active-config names another.
The influx CLI uses the same file, so a change here is a change for influx.

"fluxkeep config NAME" makes a profile the active one, and "fluxkeep config -" the one
that was active before. Without an argument, the command shows the active profile.
Tokens are never shown.`,
		Example: `  fluxkeep config list
  fluxkeep config production
  fluxkeep config remove old`,
	},
		c.listCommand(),
		c.showCommand(),
		c.createCommand(),
		c.removeCommand(),
	)
	cmd.Use = "config [NAME | COMMAND]"
	cmd.Args = arguments(0, 1)
	cmd.ValidArgsFunction = onlyFirst(completeProfiles(&c.flags))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.show(cmd, "")
		}
		return c.activate(cmd, args[0])
	}
	fs := cmd.PersistentFlags()
	c.addFlags(cmd, fs)
	c.flags.AddConfigs(fs)
	return cmd
}

func loadProfiles(flags *profile.Flags) (*profile.File, error) {
	path, err := flags.Path(os.Getenv)
	if err != nil {
		return nil, err
	}
	return profile.Load(path)
}

// shownProfile is a profile without its token and password.
type shownProfile struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Org      string `json:"org,omitempty"`
	SignsIn  string `json:"signsIn"` // with a token, a password or nothing
	Active   bool   `json:"active"`
	Previous bool   `json:"previous,omitempty"`
}

func shown(p profile.Profile) shownProfile {
	with := "nothing"
	switch {
	case p.Token != "":
		with = "token"
	case p.Cookie != "":
		with = "password"
	}
	return shownProfile{p.Name, profile.Redacted(p.URL), p.Org, with, p.Active, p.Previous}
}

func (c *configCommand) print(cmd *cobra.Command, value any, list ...shownProfile) error {
	t := table{header: []string{"ACTIVE", "NAME", "URL", "ORGANIZATION", "SIGNS IN WITH"}}
	for _, p := range list {
		mark := ""
		if p.Active {
			mark = "*"
		}
		t.add(p.Name, mark, p.Name, p.URL, p.Org, p.SignsIn)
	}
	return c.output.print(cmd, value, &t)
}

func (c *configCommand) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List profiles",
		Long:    `List the profiles, without their tokens. The active one is marked with a *.`,
		Example: `  fluxkeep config list
  fluxkeep config list --json`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := loadProfiles(&c.flags)
			if err != nil {
				return err
			}
			list := []shownProfile{}
			for _, name := range f.Names() {
				list = append(list, shown(f.Profiles[name]))
			}
			return c.print(cmd, list, list...)
		},
	}
}

func (c *configCommand) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show a profile",
		Long: `Show a profile, or the active one, without its token. "fluxkeep status" asks the server
what the token may do.`,
		Example: `  fluxkeep config show
  fluxkeep config show production`,
		Args:              arguments(0, 1),
		ValidArgsFunction: onlyFirst(completeProfiles(&c.flags)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return c.show(cmd, args[0])
			}
			return c.show(cmd, "")
		},
	}
}

// show shows a profile; an empty name is the active one.
func (c *configCommand) show(cmd *cobra.Command, name string) error {
	f, err := loadProfiles(&c.flags)
	if err != nil {
		return err
	}
	p, ok := f.Profiles[name]
	if name == "" {
		if p, ok, err = f.Active(); err != nil {
			return err
		}
		if !ok {
			return withHint(errors.New("there is no profile"), `"fluxkeep login", "setup" and "config create" make one`)
		}
	}
	if !ok {
		return &profile.UnknownError{File: f.Path, Name: name, Names: f.Names()}
	}
	return c.print(cmd, shown(p), shown(p))
}

func (c *configCommand) activate(cmd *cobra.Command, name string) error {
	f, err := loadProfiles(&c.flags)
	if err != nil {
		return err
	}
	if name == "-" {
		i := slices.IndexFunc(f.Names(), func(n string) bool { return f.Profiles[n].Previous })
		if i < 0 {
			return withHint(errors.New("no profile was active before"), `"fluxkeep config list" shows the profiles`)
		}
		name = f.Names()[i]
	}
	if !f.Profiles[name].Active { // or "config -" would forget which one was active before
		if err := profile.Activate(f.Path, name); err != nil {
			return err
		}
	}
	c.note(cmd, "influx and fluxkeep use %q from now on.", name)
	return c.show(cmd, name)
}

func (c *configCommand) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME…",
		Aliases: []string{"rm", "delete"},
		Short:   "Remove profiles",
		Long: `Remove profiles from the configs file. Their tokens stay valid: "fluxkeep logout" deletes
the token of a login too, and "fluxkeep token delete" any token.

A token that is stored nowhere else is lost with its profile.`,
		Example:           `  fluxkeep config remove old`,
		Args:              arguments(1, -1),
		ValidArgsFunction: completeProfiles(&c.flags),
		RunE: func(cmd *cobra.Command, names []string) error {
			f, err := loadProfiles(&c.flags)
			if err != nil {
				return err
			}
			for _, name := range names { // all or none
				if _, ok := f.Profiles[name]; !ok {
					return &profile.UnknownError{File: f.Path, Name: name, Names: f.Names()}
				}
			}
			for _, name := range names {
				if err := profile.Remove(f.Path, name); err != nil {
					return err
				}
				c.note(cmd, "Removed the profile %q.", name)
			}
			return noteLeft(cmd, &c.output, f.Path)
		},
	}
}

// noteLeft says which profile commands use after others were removed, if that is
// no longer one that somebody made active.
func noteLeft(cmd *cobra.Command, o *output, path string) error {
	f, err := profile.Load(path)
	if err != nil {
		return err
	}
	p, ok, err := f.Active()
	switch {
	case err != nil:
		o.note(cmd, "No profile is active now; to choose one of %s: fluxkeep config NAME", strings.Join(f.Names(), ", "))
	case ok && !p.Active:
		o.note(cmd, "fluxkeep now uses the only profile that is left, %q (%s).", p.Name, profile.Redacted(p.URL))
	}
	return nil
}

type configCreate struct {
	*configCommand
	token    input
	name     string
	url, org string
	force    bool
	active   bool
}

func (c *configCommand) createCommand() *cobra.Command {
	n := configCreate{configCommand: c}
	cmd := &cobra.Command{
		Use:   "create --config-name NAME --host-url URL",
		Short: "Create a profile for a token",
		Long: `Create a profile for a token that you already have. The token comes from a hidden prompt
or, without a terminal, from standard input. To sign in with a password, use "fluxkeep
login". "fluxkeep status" shows whether the server accepts the token.`,
		Example: `  fluxkeep config create --config-name production --host-url https://keep.example.com --org acme
  fluxkeep config create --config-name ci --host-url https://keep.example.com --token-file token`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return n.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&n.name, "config-name", "n", "", "`name` of the profile")
	fs.StringVarP(&n.url, "host-url", "u", "", "`URL` of the server")
	fs.StringVarP(&n.org, "org", "o", "", "`name` of the organization")
	fs.StringVar(&n.token.file, "token-file", "", "`file` with the token; \"-\" for standard input")
	fs.BoolVarP(&n.force, "force", "f", false, "overwrite a profile of that name")
	fs.BoolVarP(&n.active, "active", "a", false, "make the profile active, also for influx (default if no other is)")
	return cmd
}

func (c *configCreate) run(cmd *cobra.Command) error {
	for _, f := range []struct{ value, flag string }{{c.name, "--config-name"}, {c.url, "--host-url"}} {
		if f.value == "" {
			return usageError(cmd, fmt.Errorf("%s is missing", f.flag))
		}
	}
	n := newProfile{output: c.output, flags: c.flags, name: c.name, force: c.force, activate: c.active}
	w, err := n.writer()
	if err != nil {
		return err
	}
	defer w.Close()
	token, err := c.token.readCredential(cmd, "Token", false)
	if err != nil {
		return err
	}
	if _, err := client.New(client.Config{URL: c.url, Token: token}); err != nil {
		return err
	}
	p := profile.Profile{Name: c.name, URL: c.url, Token: token, Org: c.org, Active: c.active || w.Before().Name == ""}
	if err := w.Write(p); err != nil {
		return err
	}
	return c.print(cmd, shown(p), shown(p))
}
