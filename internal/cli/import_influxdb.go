package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/influxbolt"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/spf13/cobra"
)

type importInfluxDB struct {
	dataImport
	bolt string
	only []string
}

func newImportInfluxDBCommand() *cobra.Command {
	var im importInfluxDB
	cmd := &cobra.Command{
		Use:   "influxdb --bolt-path FILE --data-dir DIR",
		Short: "Import an InfluxDB's organizations, users, tokens and secrets",
		Long: `Import the organizations, users, memberships, tokens and secrets of an InfluxDB 2.x from
its bolt file, with their IDs, passwords and permissions. Users can sign in with their
existing passwords, and tokens keep working, even if InfluxDB stores only their hashes.

Without --apply, this is a dry run: it shows what would happen to each object, and
changes nothing. It never shows values or tokens.

Pass a copy of influxd.bolt, or stop influxd first; the file is only read. No server may
have the data folder open. If the folder doesn't exist, it is created with its key, as
on the first start of a server. Existing objects stay unchanged: if an object exists
with different content, or its name is taken, it is skipped and listed, and the rest is
imported.

A later import adds new objects, and shows what was changed or deleted in InfluxDB since
the last one, such as passwords and revoked tokens. --update applies these changes: it
deletes tokens, memberships and secrets that were deleted in InfluxDB, deactivates
deleted users, and keeps organizations. Objects that were imported before and then
deleted here stay deleted unless you give --restore-deleted.

The import is atomic: if it fails or is killed, either everything was imported or
nothing. Afterwards each secret is compared with the file by keyed hashes. The exit
status is 0 even if objects were skipped, and 1 if the file can't be read or the import
fails.`,
		Example: `  # preview
  fluxkeep import influxdb --bolt-path influxd.bolt --data-dir /var/lib/fluxkeep

  # apply, with the key separate from the data
  fluxkeep import influxdb --bolt-path influxd.bolt --data-dir /var/lib/fluxkeep \
    --key-file /etc/fluxkeep/key --apply

  # only secrets and their organizations
  fluxkeep import influxdb --bolt-path influxd.bolt --only organizations,secrets --apply

  # weeks later: follow the passwords and tokens that have changed in InfluxDB
  fluxkeep import influxdb --bolt-path influxd.bolt --update --apply`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if im.bolt == "" {
				return usageError(cmd, errors.New("--bolt-path is missing"))
			}
			if err := im.load(); err != nil {
				return err
			}
			return im.run(cmd)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&im.bolt, "bolt-path", "", "InfluxDB's bolt `file`, influxd.bolt")
	fs.StringSliceVar(&im.only, "only", nil, "`kinds` to import: organizations, users, memberships, tokens, secrets (default all)")
	im.addFlags(cmd, fs, "InfluxDB")
	return cmd
}

func (im *importInfluxDB) run(cmd *cobra.Command) error {
	kinds, err := importedKinds(im.only)
	if err != nil {
		return usageError(cmd, err)
	}
	contents, err := influxbolt.Read(im.bolt)
	if err != nil {
		return boltHint(err)
	}
	source := importOf(contents)
	limitImport(&source, kinds)
	return im.dataImport.run(cmd, source, &importResult{
		Bolt: im.bolt, what: "the file", NotTaken: contents.Others, Skipped: contents.Skipped,
	})
}

func boltHint(err error) error {
	switch {
	case errors.Is(err, influxbolt.ErrDamaged):
		return withHint(err, "nothing was changed; copy influxd.bolt again while influxd is stopped")
	case errors.Is(err, influxbolt.ErrForeign):
		return withHint(err, "nothing was changed; influxd stores its file in ~/.influxdbv2/influxd.bolt, or where its --bolt-path says")
	}
	return err
}

// importedKinds reads --only.
func importedKinds(only []string) (kinds []string, err error) {
	for _, name := range only {
		i := slices.IndexFunc(importKinds, func(k importKind) bool { return k.one+"s" == name })
		if i < 0 {
			return nil, fmt.Errorf("--only %s: the kinds are organizations, users, memberships, tokens and secrets", name)
		}
		kinds = append(kinds, importKinds[i].kind)
	}
	return kinds, nil
}

// limitImport restricts an import to some kinds; no kinds means all.
func limitImport(in *keep.Import, kinds []string) {
	if len(kinds) == 0 {
		return
	}
	in.Kinds = kinds
	has := func(kind string) bool { return slices.Contains(kinds, kind) }
	if !has(keep.ImportOrganizationKind) {
		in.Organizations = nil
	}
	if !has(keep.ImportUserKind) {
		in.Users = nil
	}
	if !has(keep.ImportMemberKind) {
		in.Members = nil
	}
	if !has(keep.ImportTokenKind) {
		in.Tokens = nil
	}
	if !has(keep.ImportSecretKind) {
		in.Secrets = nil
	}
}

// importOf converts the contents of a bolt file to the domain's types.
func importOf(c *influxbolt.Contents) keep.Import {
	in := keep.Import{Secrets: c.Secrets, Source: c.Instance, Partial: len(c.Skipped) > 0}
	for _, o := range c.Organizations {
		in.Organizations = append(in.Organizations, keep.Organization(o))
	}
	for _, u := range c.Users {
		in.Users = append(in.Users, keep.ImportUser{
			User: keep.User{ID: u.ID, Name: u.Name, Active: u.Active}, Owner: u.Owner, Password: u.Password,
		})
	}
	for _, m := range c.Members {
		role := keep.Member
		if m.Owner {
			role = keep.Owner
		}
		in.Members = append(in.Members, keep.ImportMember{Org: m.Organization, User: m.User, Role: role})
	}
	for _, t := range c.Tokens {
		in.Tokens = append(in.Tokens, keep.ImportToken{Hash: t.Hash, Token: keep.Token{
			ID: t.ID, Org: t.Organization, User: t.User, Active: t.Active, Description: t.Description,
			Permissions: t.Permissions, Created: t.Created, Updated: t.Updated, Value: t.Value,
		}})
	}
	return in
}

// importResult is the command's output. It contains no values and no tokens.
type importResult struct {
	Bolt      string                  `json:"bolt,omitempty"`
	Source    string                  `json:"source,omitempty"`
	DataDir   string                  `json:"dataDir"`
	NewFolder bool                    `json:"newFolder"`
	NewKey    string                  `json:"newKeyFile,omitempty"`
	Applied   bool                    `json:"applied"`
	Counts    map[string]importCounts `json:"counts"`
	Objects   []importObject          `json:"objects"`
	Skipped   []string                `json:"skipped"`  // problems in the source
	NotTaken  []string                `json:"notTaken"` // kinds of data that only InfluxDB has
	Compared  *importCompared         `json:"compared,omitempty"`

	what string // the source, for messages
}

type importCounts struct {
	New       int `json:"new"`
	Updated   int `json:"updated"`
	Removed   int `json:"removed"`
	Unchanged int `json:"unchanged"`
	Different int `json:"different"`
	Conflict  int `json:"conflict"`
	Refused   int `json:"refused"`
	Changed   int `json:"changed"`
	Gone      int `json:"gone"`
	Deleted   int `json:"deleted"`
}

type importObject struct {
	Kind         string `json:"kind"`
	ID           string `json:"id,omitempty"`
	Organization string `json:"organization,omitempty"`
	Name         string `json:"name,omitempty"`
	Secrets      int    `json:"secrets,omitempty"`
	Outcome      string `json:"outcome"`
	Note         string `json:"note,omitempty"`
}

type importCompared struct {
	Equal     int `json:"equal"`
	Different int `json:"different"`
	Missing   int `json:"missing"`
}

func (c importCounts) add(d importCounts) importCounts {
	return importCounts{
		c.New + d.New, c.Updated + d.Updated, c.Removed + d.Removed, c.Unchanged + d.Unchanged,
		c.Different + d.Different, c.Conflict + d.Conflict, c.Refused + d.Refused,
		c.Changed + d.Changed, c.Gone + d.Gone, c.Deleted + d.Deleted,
	}
}

func (c importCounts) applied() int { return c.New + c.Updated + c.Removed }

func (c importCounts) left() int {
	return c.Different + c.Conflict + c.Refused + c.Changed + c.Gone + c.Deleted
}

type importKind struct{ kind, one string }

// importKinds are the kinds in import order, with their names.
var importKinds = []importKind{
	{keep.ImportOrganizationKind, "organization"},
	{keep.ImportUserKind, "user"},
	{keep.ImportMemberKind, "membership"},
	{keep.ImportTokenKind, "token"},
	{keep.ImportSecretKind, "secret"},
}

func (r *importResult) take(report keep.ImportReport) {
	r.Counts = make(map[string]importCounts)
	for _, k := range importKinds {
		n := report.Counts[k.kind]
		r.Counts[k.one+"s"] = importCounts{
			n[keep.ImportNew], n[keep.ImportUpdated], n[keep.ImportRemoved], n[keep.ImportUnchanged],
			n[keep.ImportDifferent], n[keep.ImportConflict], n[keep.ImportRefused],
			n[keep.ImportChanged], n[keep.ImportGone], n[keep.ImportDeleted],
		}
	}
	r.Objects = make([]importObject, len(report.Remarks))
	for i, m := range report.Remarks {
		o := importObject{Kind: m.Kind, Name: m.Name, Secrets: m.Secrets, Outcome: string(m.Outcome), Note: m.Reason}
		if m.ID != 0 {
			o.ID = m.ID.String()
		}
		if m.Org != 0 && m.Org != m.ID {
			o.Organization = m.Org.String()
		}
		r.Objects[i] = o
	}
}

func (r *importResult) total() (all importCounts) {
	for _, c := range r.Counts {
		all = all.add(c)
	}
	return all
}

func (r *importResult) print(cmd *cobra.Command, o *output) error {
	t := &table{header: []string{"KIND", "ID", "ORGANIZATION", "NAME", "RESULT", "NOTE"}}
	for _, m := range r.Objects {
		name := m.Name
		if m.Secrets > 0 && name == "" {
			name = "(" + count(m.Secrets, "secret") + ")"
		}
		t.add(m.ID, m.Kind, m.ID, m.Organization, name, m.Outcome, m.Note)
	}
	if err := o.print(cmd, r, t); err != nil {
		return err
	}
	if !o.structured() {
		for _, line := range r.Skipped {
			warn(cmd, "in %s: %s", r.what, line)
		}
		r.conclude(cmd, o)
	}
	return r.verify()
}

// conclude prints the summary.
func (r *importResult) conclude(cmd *cobra.Command, o *output) {
	all := r.total()
	for _, k := range importKinds {
		if c := r.Counts[k.one+"s"]; c != (importCounts{}) {
			followed := ""
			if c.Updated+c.Removed > 0 {
				followed = fmt.Sprintf("%d updated, %d removed, ", c.Updated, c.Removed)
			}
			o.note(cmd, "%ss: %d new, %s%d unchanged, %d left alone.", strings.ToUpper(k.one[:1])+k.one[1:], c.New, followed, c.Unchanged, c.left())
		}
	}
	if len(r.NotTaken) > 0 {
		o.note(cmd, "Not taken, since only InfluxDB has it: %s.", strings.Join(r.NotTaken, ", "))
	}
	if c := r.Compared; c != nil {
		o.note(cmd, "Compared with %s by keyed hashes: %s equal, %d different, %d not here.", r.what, count(c.Equal, "secret"), c.Different, c.Missing)
	}
	folder := printable(r.DataDir)
	switch {
	case r.Applied && r.NewKey != "":
		o.note(cmd, "Created the data folder %s and the key file %s: keep a copy of the key, without it the data can't be read.", folder, printable(r.NewKey))
	case r.Applied && r.NewFolder:
		o.note(cmd, "Created the data folder %s.", folder)
	case r.NewFolder:
		o.note(cmd, "There is no data in %s yet: the folder would be created.", folder)
	}
	if n := all.Changed + all.Gone; n > 0 {
		o.note(cmd, "At the source, %s changed or were deleted since the last import, and stay here as they were. To follow the source, add --update.", count(n, "object"))
	}
	if all.Deleted > 0 {
		o.note(cmd, "Deleted here since the last import, and left so: %s. To import them again, add --restore-deleted.", count(all.Deleted, "object"))
	}
	switch {
	case all.applied() == 0 && r.Applied:
		o.note(cmd, "Nothing is new: nothing was changed.")
	case all.applied() == 0:
		o.note(cmd, "Nothing is new: nothing would change.")
	case r.Applied:
		o.note(cmd, "Imported %s into %s.", count(all.applied(), "object"), folder)
	default:
		o.note(cmd, "This was a dry run, and nothing was changed. To import new objects, add --apply.")
	}
}

// verify makes sure that all imported secrets match the file.
func (r *importResult) verify() error {
	if r.Compared == nil {
		return nil
	}
	n := r.Counts["secrets"]
	if want := n.New + n.Updated + n.Unchanged; r.Compared.Equal != want {
		return fmt.Errorf("verification failed: %s should match the source, but only %d do", count(want, "secret"), r.Compared.Equal)
	}
	return nil
}
