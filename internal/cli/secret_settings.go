package cli

import (
	"errors"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/spf13/cobra"
)

// secretSettings shows and changes how versions are stored.
type secretSettings struct {
	r           *remote
	maxVersions int
	checkAndSet bool
	deleteAfter string
	yes         bool
}

func newSecretSettingsCommand(r *remote) *cobra.Command {
	st := secretSettings{r: r}
	cmd := &cobra.Command{
		Use:   "settings",
		Short: "Show and change how versions are stored",
		Long: `Show how an organization's versions are stored, or change that with one of the flags:

--max-versions is how many versions are stored, and how many changes of each secret. The
next change removes the versions beyond that, so lowering it asks for confirmation unless
you give --yes; without a terminal, --yes is required.

--check-and-set refuses writes that don't say which version they are based on. Vault's
clients can say that; InfluxDB's, an influxd and "fluxkeep secret set" can't.

--delete-after hides each new version after that time, with all its secrets, until
somebody undeletes it. It does not apply to versions that exist.`,
		Example: `  fluxkeep secret settings
  fluxkeep secret settings --max-versions 30
  fluxkeep secret settings --check-and-set=false --delete-after never`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return st.run(cmd) },
	}
	fs := cmd.Flags()
	fs.IntVar(&st.maxVersions, "max-versions", 0, "`number` of versions, and of changes of each secret, to store")
	fs.BoolVar(&st.checkAndSet, "check-and-set", false, "refuse writes without check-and-set")
	fs.StringVar(&st.deleteAfter, "delete-after", "", "`time` after which new versions are deleted: 720h, 30d or never")
	addYes(cmd, &st.yes)
	return cmd
}

// shownSettings is VersionSettings as printed.
type shownSettings struct {
	MaxVersions        int    `json:"maxVersions"`
	CASRequired        bool   `json:"casRequired"`
	DeleteVersionAfter string `json:"deleteVersionAfter"`
}

func (st *secretSettings) run(cmd *cobra.Command) error {
	update, err := st.update(cmd)
	if err != nil {
		return usageError(cmd, err)
	}
	s, org, err := st.r.open(cmd)
	if err != nil {
		return err
	}
	now, err := s.VersionSettings(cmd.Context(), org.ID)
	if err != nil {
		return err
	}
	if update != (client.VersionSettingsUpdate{}) {
		if most := update.MaxVersions; most != nil && *most < now.MaxVersions {
			if err := confirm(cmd, st.yes, "Store %s of %s instead of %d? The next change removes older ones.",
				count(*most, "version"), printable(org.Name), now.MaxVersions); err != nil {
				return err
			}
		}
		if err := s.UpdateVersionSettings(cmd.Context(), org.ID, update); err != nil {
			return err
		}
		if now, err = s.VersionSettings(cmd.Context(), org.ID); err != nil {
			return err
		}
	}
	shown := shownSettings{now.MaxVersions, now.CASRequired, now.DeleteVersionAfter.String()}
	required, after := "not required", "never"
	if now.CASRequired {
		required = "required"
	}
	if now.DeleteVersionAfter > 0 {
		after = formatDays(now.DeleteVersionAfter)
	}
	var t table
	t.add(strconv.Itoa(now.MaxVersions), "Max versions", strconv.Itoa(now.MaxVersions))
	t.add(required, "Check-and-set", required)
	t.add(after, "Delete after", after)
	return st.r.print(cmd, shown, &t)
}

// update returns the settings that the flags change.
func (st *secretSettings) update(cmd *cobra.Command) (u client.VersionSettingsUpdate, err error) {
	flags := cmd.Flags()
	if flags.Changed("max-versions") {
		if st.maxVersions < 1 {
			return u, errors.New("--max-versions must be at least 1")
		}
		u.MaxVersions = &st.maxVersions
	}
	if flags.Changed("check-and-set") {
		u.CASRequired = &st.checkAndSet
	}
	if flags.Changed("delete-after") {
		after, ok := parseDuration(st.deleteAfter)
		if st.deleteAfter == "never" {
			after, ok = 0, true
		} else if after == 0 {
			ok = false
		}
		if !ok {
			return u, errors.New("--delete-after must be a time such as 720h or 30d, or never")
		}
		u.DeleteVersionAfter = &after
	}
	return u, nil
}

// formatDays formats a duration, in days if it is a number of days.
func formatDays(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return count(int(d/day), "day")
	}
	return d.String()
}
