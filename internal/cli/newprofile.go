package cli

import (
	"fmt"
	"os"

	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newProfile holds what commands that write a profile share.
type newProfile struct {
	output
	flags    profile.Flags
	name     string
	force    bool
	activate bool
	server   profile.Settings // set once the server is known
}

func (n *newProfile) addFlags(cmd *cobra.Command, fs *pflag.FlagSet) {
	fs.StringVarP(&n.name, "name", "n", "default", "`name` of the profile to write")
	fs.BoolVarP(&n.force, "force", "f", false, "overwrite a profile of that name")
	fs.BoolVar(&n.activate, "activate", false, "make the profile active, also for influx (default if no other is)")
	n.flags.AddServer(fs)
	n.output.addFlags(cmd, fs)
	nameServer(cmd, &n.server)
}

// writer prepares to write the profile. It makes the checks that could fail, so
// that a new token isn't lost.
func (n *newProfile) writer() (*profile.Writer, error) {
	path, err := n.flags.Path(os.Getenv)
	if err != nil {
		return nil, err
	}
	w, err := profile.NewWriter(path, n.name, n.force)
	if is[*profile.ExistsError](err) {
		return nil, withHint(err, "give the new one another --name, or overwrite with --force")
	}
	return w, err
}

// askActive decides whether the new profile becomes the active one: the tools
// of another server's profile would talk to the new one from then on.
func (n *newProfile) askActive(cmd *cobra.Command, before profile.Profile) error {
	switch {
	case cmd.Flags().Changed("activate"):
		return nil
	case before.Name == "" || before.Name == n.name:
		n.activate = true
		return nil
	case !interactive(cmd):
		return nil
	}
	answer, err := ask(cmd, fmt.Sprintf("influx and fluxkeep use profile %q (%s) now. Use %q from now on? [y/N] ", before.Name, profile.Redacted(before.URL), n.name))
	n.activate = isYes(answer)
	return err
}

// noteActive says which profile is used from now on.
func (n *newProfile) noteActive(cmd *cobra.Command, what string, before profile.Profile) {
	if n.activate {
		n.note(cmd, "%s is in the profile %q, which influx and fluxkeep use from now on; store secrets with: fluxkeep secret set NAME", what, n.name)
	} else {
		n.note(cmd, "%s is in the profile %q; influx and fluxkeep still use %q (%s). Store secrets with: fluxkeep secret set NAME --active-config %s", what, n.name, before.Name, profile.Redacted(before.URL), n.name)
	}
}
