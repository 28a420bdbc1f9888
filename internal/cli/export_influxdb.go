package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/spf13/cobra"
)

// exportInfluxDB writes secrets into a running InfluxDB, through its API.
type exportInfluxDB struct {
	remote
	url       string
	toConfig  string
	tokenFile string
	all       bool
	mapping   []string
	dryRun    bool
	yes       bool
}

func newExportInfluxDBCommand() *cobra.Command {
	var c exportInfluxDB
	cmd := &cobra.Command{
		Use:   "influxdb --url URL",
		Short: "Write secrets into a running InfluxDB",
		Long: `Write the secrets of an organization, or with --all of all that the token may read, into
a running InfluxDB 2.x. Organizations are matched by name; --map OURS=THEIRS names an
organization that has another name or ID there. Afterwards, the command lists the names
in InfluxDB to verify that they are all there. Values are never shown.

InfluxDB must store its secrets itself. One that runs with --secret-store vault would
write them back to Fluxkeep: restart it without this flag first.

InfluxDB's token comes from --url-token-file, from INFLUXDB_TOKEN, or from a prompt. It
needs write permission on secrets, and read permission on organizations and secrets.
--to-config takes URL and token from a profile instead.

Secrets that exist only in InfluxDB stay. Those with the same name are overwritten, and
InfluxDB keeps no earlier values: the command asks for confirmation unless you give
--yes; without a terminal, --yes is required.`,
		Example: `  # preview
  fluxkeep export influxdb --url http://localhost:8086 --org acme --dry-run

  # all organizations, with URL and token of a profile
  fluxkeep export influxdb --to-config influxdb --all

  # to an organization with another name
  fluxkeep export influxdb --url http://localhost:8086 --org acme --map acme=sensors`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&c.url, "url", "", "`URL` of the InfluxDB")
	fs.StringVar(&c.tokenFile, "url-token-file", "", "`file` with InfluxDB's token; \"-\" for standard input")
	fs.StringVar(&c.toConfig, "to-config", "", "`name` of the profile of the InfluxDB")
	fs.BoolVar(&c.all, "all", false, "export all organizations")
	fs.StringArrayVar(&c.mapping, "map", nil, "`names` OURS=THEIRS: an organization and its name or ID in InfluxDB; repeatable")
	fs.BoolVar(&c.dryRun, "dry-run", false, "show what would be written, without writing")
	addYes(cmd, &c.yes)
	c.addTo(cmd)
	cmd.MarkFlagsMutuallyExclusive("url", "to-config")
	cmd.MarkFlagsMutuallyExclusive("url-token-file", "to-config")
	cmd.MarkFlagsMutuallyExclusive("all", "org")
	cmd.MarkFlagsMutuallyExclusive("all", "org-id")
	_ = cmd.RegisterFlagCompletionFunc("to-config", completeProfiles(&c.flags))
	return cmd
}

// exported is what happens to an organization's secrets. It contains no values.
type exported struct {
	Organization string   `json:"organization"`
	InfluxDB     string   `json:"influxdb"` // the organization's name there
	New          []string `json:"new"`
	Overwritten  []string `json:"overwritten"`
	Others       int      `json:"others"` // secrets that only InfluxDB has
	Verified     bool     `json:"verified"`

	from, to client.Organization
	values   client.Values
}

func (c *exportInfluxDB) run(cmd *cobra.Command) error {
	mapped, err := parseMapping(c.mapping)
	if err != nil {
		return usageError(cmd, err)
	}
	s, err := c.connect(cmd)
	if err != nil {
		return err
	}
	orgs, err := c.organizations(cmd, s)
	if err != nil {
		return err
	}
	influx, err := c.target(cmd, s)
	if err != nil {
		return err
	}
	for name := range mapped {
		if !slices.ContainsFunc(orgs, func(o client.Organization) bool { return o.Name == name }) {
			return fmt.Errorf("--map: %s is not one of the organizations to export", printable(name))
		}
	}
	plan := make([]*exported, 0, len(orgs))
	for _, org := range orgs {
		e, err := planExport(cmd.Context(), s, influx, org, mapped[org.Name])
		if err != nil {
			return err
		}
		if len(e.values.Secrets) > 0 {
			plan = append(plan, e)
		}
	}
	if !c.dryRun && len(plan) > 0 {
		if err := c.confirm(cmd, influx, plan); err != nil {
			return err
		}
		for _, e := range plan {
			if err := e.write(cmd.Context(), s, influx); err != nil {
				return fmt.Errorf("organization %s: %w", printable(e.Organization), err)
			}
		}
	}
	return c.report(cmd, influx, plan)
}

// parseMapping reads --map.
func parseMapping(list []string) (map[string]string, error) {
	out := make(map[string]string)
	for _, m := range list {
		ours, theirs, ok := strings.Cut(m, "=")
		if !ok || ours == "" || theirs == "" {
			return nil, errors.New("--map must have the form OURS=THEIRS")
		}
		out[ours] = theirs
	}
	return out, nil
}

// organizations returns the organizations to export.
func (c *exportInfluxDB) organizations(cmd *cobra.Command, s *session) ([]client.Organization, error) {
	if c.all {
		return s.Organizations(cmd.Context())
	}
	org, err := s.organization(cmd)
	if err == nil {
		org, err = s.Organization(cmd.Context(), org.ID) // with its name
	}
	return []client.Organization{org}, err
}

// target connects to the InfluxDB.
func (c *exportInfluxDB) target(cmd *cobra.Command, s *session) (*session, error) {
	to := profile.Settings{Host: c.url}
	switch {
	case c.toConfig != "":
		flags := profile.Flags{ActiveConfig: c.toConfig, ConfigsPath: c.flags.ConfigsPath}
		var err error
		if to, err = profile.Resolve(&flags, onlyConfigsPath); err != nil {
			return nil, err
		}
	case c.url == "":
		return nil, usageError(cmd, errors.New("--url or --to-config is missing"))
	default:
		token, err := c.token(cmd)
		if err != nil {
			return nil, err
		}
		to.Token = token
	}
	if profile.SameServer(to.Host, s.settings.Host) {
		return nil, withHint(errors.New("the InfluxDB has the same URL as the Fluxkeep server"), "--url says where InfluxDB is, and --host or the profile where Fluxkeep is")
	}
	influx, err := client.New(client.Config{URL: to.Host, Token: to.Token, UserAgent: "fluxkeep/" + readVersion().Version})
	if err != nil {
		return nil, err
	}
	if to.User != "" {
		err = influx.SignIn(cmd.Context(), to.User, to.Password)
	}
	return &session{influx, to}, err
}

// onlyConfigsPath hides the variables for the Fluxkeep server.
func onlyConfigsPath(name string) string {
	if name == "INFLUX_CONFIGS_PATH" {
		return os.Getenv(name)
	}
	return ""
}

// token reads InfluxDB's token.
func (c *exportInfluxDB) token(cmd *cobra.Command) (string, error) {
	if c.tokenFile != "" {
		return input{file: c.tokenFile}.readCredential(cmd, "Token", false)
	}
	if t := os.Getenv("INFLUXDB_TOKEN"); t != "" {
		return t, nil
	}
	if interactive(cmd) {
		return askHidden(cmd, "InfluxDB's token: ")
	}
	return "", withHint(errors.New("there is no token for the InfluxDB"), "give --url-token-file, or set INFLUXDB_TOKEN")
}

// planExport compares an organization with the one of InfluxDB.
func planExport(ctx context.Context, s, influx *session, org client.Organization, theirs string) (*exported, error) {
	e := &exported{Organization: org.Name, New: []string{}, Overwritten: []string{}, from: org}
	var err error
	if e.values, _, err = s.Values(ctx, org.ID, nil); err != nil || len(e.values.Secrets) == 0 {
		return e, err
	}
	theirs = cmp.Or(theirs, org.Name)
	e.to, err = find(ctx, theirs, influx.Organization, influx.OrganizationByName)
	if err != nil {
		return e, influxError(influx, fmt.Errorf("organization %s: %w", printable(theirs), err))
	}
	e.InfluxDB = e.to.Name
	there, err := influx.SecretNames(ctx, e.to.ID)
	if err != nil {
		return e, influxError(influx, err)
	}
	slices.Sort(there)
	for _, name := range slices.Sorted(maps.Keys(e.values.Secrets)) {
		if _, ok := slices.BinarySearch(there, name); ok {
			e.Overwritten = append(e.Overwritten, name)
		} else {
			e.New = append(e.New, name)
		}
	}
	e.Others = len(there) - len(e.Overwritten)
	return e, nil
}

// influxError says that an error comes from InfluxDB and not from Fluxkeep,
// which the lines below it name.
func influxError(influx *session, err error) error {
	hint := "check --url and the token, which needs read permission on organizations and write permission on secrets"
	if errors.Is(err, client.ErrNotFound) {
		hint = "create the organization in InfluxDB, or name it with --map OURS=THEIRS"
	}
	return withHint(fmt.Errorf("InfluxDB at %s: %w", influx.settings.Host, err), "%s", hint)
}

func (c *exportInfluxDB) confirm(cmd *cobra.Command, influx *session, plan []*exported) error {
	secrets, overwritten := 0, 0
	for _, e := range plan {
		secrets += len(e.values.Secrets)
		overwritten += len(e.Overwritten)
	}
	return confirm(cmd, c.yes || overwritten == 0 && !interactive(cmd), "Write %s of %s into the InfluxDB at %s, and overwrite %d of its own?",
		count(secrets, "secret"), count(len(plan), "organization"), influx.settings.Host, overwritten)
}

// maxExported is the largest body that is sent at once, well below the limits of
// proxies.
const maxExported = 1 << 20

// write writes the secrets and verifies that InfluxDB lists them.
func (e *exported) write(ctx context.Context, s, influx *session) error {
	batch, size := make(map[string]string), 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := influx.SetSecrets(ctx, e.to.ID, batch); err != nil {
			return influxError(influx, err)
		}
		clear(batch)
		size = 0
		return nil
	}
	for name, value := range e.values.Secrets {
		if size += len(name) + len(value); size > maxExported {
			if err := flush(); err != nil {
				return err
			}
			size = len(name) + len(value)
		}
		batch[name] = value
	}
	if err := flush(); err != nil {
		return err
	}
	there, err := influx.SecretNames(ctx, e.to.ID)
	if err != nil {
		return influxError(influx, err)
	}
	slices.Sort(there)
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(e.values.Secrets)), func(n string) bool {
		_, ok := slices.BinarySearch(there, n)
		return ok
	})
	if len(missing) > 0 {
		return fmt.Errorf("InfluxDB accepted the secrets but doesn't list %s", some(missing, 10))
	}
	if err := e.checkSource(ctx, s); err != nil {
		return err
	}
	e.Verified = true
	return nil
}

// checkSource makes sure that InfluxDB didn't write the secrets back.
func (e *exported) checkSource(ctx context.Context, s *session) error {
	_, changed, err := s.Values(ctx, e.from.ID, &client.ValuesQuery{ETag: e.values.ETag})
	if err != nil || !changed {
		return err
	}
	history, err := s.History(ctx, e.from.ID)
	if err == nil && len(history) > 0 && history[0].Protocol == "influxd" {
		return withHint(errors.New("InfluxDB wrote the secrets back to this Fluxkeep"), "it still runs with --secret-store vault: restart it without, then run this again")
	}
	return err
}

func (c *exportInfluxDB) report(cmd *cobra.Command, influx *session, plan []*exported) error {
	t := table{header: []string{"ORGANIZATION", "IN INFLUXDB", "NEW", "OVERWRITTEN", "OTHERS"}}
	secrets := 0
	for _, e := range plan {
		secrets += len(e.values.Secrets)
		t.add(e.Organization, e.Organization, e.InfluxDB, fmt.Sprint(len(e.New)), fmt.Sprint(len(e.Overwritten)), fmt.Sprint(e.Others))
	}
	if err := c.print(cmd, orEmpty(plan), &t); err != nil {
		return err
	}
	switch {
	case len(plan) == 0:
		c.note(cmd, "There are no secrets to export.")
	case c.dryRun:
		c.note(cmd, "This was a dry run, and nothing was written.")
	default:
		c.note(cmd, "Wrote %s into the InfluxDB at %s, which lists them all.", count(secrets, "secret"), influx.settings.Host)
	}
	return nil
}
