package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

func newStatusCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:     "status",
		Aliases: []string{"whoami"},
		Short:   "Show which server you use, as whom, and what you may do",
		Long: `Show the server and the profile that commands use, the server's version, and what the
server knows about your token: whose it is, what it may do, and when it expires.

The exit status is 0 if the server accepts the token.`,
		Example: `  fluxkeep status
  fluxkeep status --active-config production
  fluxkeep status --json | jq -r .user`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return showStatus(cmd, r) },
	}
	r.addTo(cmd)
	return cmd
}

// serverStatus is what status prints. It contains no token.
type serverStatus struct {
	Server    string `json:"server"`
	Profile   string `json:"profile,omitempty"`
	TokenFrom string `json:"tokenFrom,omitempty"` // if not from the profile
	Version   string `json:"version"`
	Health    string `json:"health"`
	client.Self
	// Organization is the one that commands use; a token can reach others too.
	Organization string `json:"organization,omitempty"`
	May          string `json:"may"`
}

func showStatus(cmd *cobra.Command, r *remote) error {
	s, err := r.connect(cmd)
	if err != nil {
		return err
	}
	health, err := s.Health(cmd.Context())
	if err != nil {
		return err
	}
	if health.Status != "pass" {
		warn(cmd, "the server is not healthy: %s", health.Message)
	}
	self, err := s.Self(cmd.Context())
	if err != nil {
		return err
	}
	st := serverStatus{
		Server: s.settings.Host, Profile: s.settings.Profile, TokenFrom: s.settings.TokenFrom,
		Version: health.Version, Health: health.Message, Self: self,
	}
	if s.settings.Org != "" || s.settings.OrgID != "" {
		org, err := s.organization(cmd)
		if err != nil {
			return err
		}
		st.Organization = org.Name
		self.OrgID = org.ID
	}
	st.May = permissionsOf(client.Token{OrgID: self.OrgID, Permissions: self.Permissions})
	return r.print(cmd, st, st.table(time.Now()))
}

func (st *serverStatus) table(now time.Time) *table {
	t := &table{}
	row := func(name, value string) {
		if value != "" {
			t.add(value, name, value)
		}
	}
	row("Server", st.Server)
	row("Profile", st.Profile)
	row("Version", st.Version)
	row("Health", st.Health)
	row("User", cmp.Or(st.User, st.UserID))
	switch {
	case st.TokenID == "":
		row("Token", "none, signed in with a password")
	case st.TokenFrom != "":
		row("Token", fmt.Sprintf("%s %s (from %s)", st.TokenID, st.Description, st.TokenFrom))
	default:
		row("Token", st.TokenID+" "+st.Description)
	}
	row("Organization", cmp.Or(st.Organization, "none is chosen: give --org NAME"))
	row("May", st.May)
	row("Names", strings.Join(st.Names, " "))
	if st.ExpiresAt.IsZero() {
		row("Expires", "never")
	} else {
		row("Expires", fmt.Sprintf("%s (in %s)", formatTime(st.ExpiresAt), roughly(st.ExpiresAt.Sub(now))))
	}
	return t
}

// roughly writes a duration in its largest unit.
func roughly(d time.Duration) string {
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / unit.length); n > 0 {
			return count(n, unit.name)
		}
	}
	return "less than a minute"
}
