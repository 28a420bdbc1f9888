package cli

import (
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/spf13/cobra"
)

func newDoctorCommand() *cobra.Command {
	o := newOffline()
	accept, yes := false, false
	cmd := &cobra.Command{
		Use:   "doctor --data-dir DIR",
		Short: "Check the data of a stopped server for damage",
		Long: `Check all data in the folder of a stopped server: decrypt every record, compare related
records, and verify the audit log. Damage is listed by kind and ID, without names or
values. Nothing is repaired, and no data is changed. Warnings name tokens with a
permission for a resource outside its organization; such a permission has no effect.

With --accept, doctor lists the damage, asks for confirmation, and then makes the server
trust the existing records. Only do this if you can't restore a backup: missing records
stay missing, and if an attacker put back an old password or a deleted token, it works
again. Records that can't be decrypted stay damaged. The audit log records that you
accepted the damage.

The exit status is 0 if nothing is damaged, and 1 if damage was found or data could not
be checked.`,
		Example: `  fluxkeep doctor --data-dir /var/lib/fluxkeep --key-file /etc/fluxkeep/key
  fluxkeep doctor --data-dir /var/lib/fluxkeep --json | jq '.damage[].what'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.load(); err != nil {
				return err
			}
			r, err := examine(cmd, o)
			if !accept || len(r.Damage) == 0 || err != nil && !errors.Is(err, errDamaged) {
				return err
			}
			return acceptDamage(cmd, o, yes)
		},
	}
	cmd.Flags().BoolVar(&accept, "accept", false, "trust the existing records, even if others are missing")
	addYes(cmd, &yes)
	addServerFlags(o.addTo(cmd), o.config, "audit-log")
	return cmd
}

// doctorReport is what doctor prints as JSON.
type doctorReport struct {
	DataDir       string         `json:"dataDir"`
	Records       int            `json:"records"`
	Organizations int            `json:"organizations"`
	Versions      int            `json:"versions"`
	Secrets       int            `json:"secrets"` // of all versions
	Users         int            `json:"users"`
	Tokens        int            `json:"tokens"`
	AuditLines    uint64         `json:"auditLines"`
	Damage        []doctorDamage `json:"damage"`
	// MisplacedTokens name a resource outside their organization.
	MisplacedTokens []keep.ID `json:"misplacedTokens,omitempty"`
}

type doctorDamage struct {
	What    string `json:"what"`
	Problem string `json:"problem"`
}

var errDamaged = errors.New("damage found")

func acceptDamage(cmd *cobra.Command, o *offline, yes bool) error {
	if err := confirm(cmd, yes, "Trust the records that are in %s?", o.config.DataDir); err != nil {
		return err
	}
	if err := datadir.Accept(cmd.Context(), o.config); err != nil {
		return err
	}
	left := 0
	if _, err := datadir.Check(cmd.Context(), o.config, func(keep.Damage) { left++ }); err != nil {
		return err
	}
	if left > 0 {
		o.note(cmd, "The records that are there are trusted; %s can't be read.", count(left, "place"))
		return nil
	}
	o.note(cmd, "The records that are there are trusted.")
	return nil
}

func examine(cmd *cobra.Command, o *offline) (doctorReport, error) {
	r := doctorReport{DataDir: o.config.DataDir, Damage: []doctorDamage{}}
	t := table{header: []string{"DAMAGED", "PROBLEM"}}
	done, err := datadir.Check(cmd.Context(), o.config, func(d keep.Damage) {
		problem := oneLine(d.Err.Error())
		r.Damage = append(r.Damage, doctorDamage{d.What, problem})
		t.add(d.What, d.What, problem)
	})
	r.Records, r.Organizations, r.Versions, r.Secrets = done.Records, done.Organizations, done.Versions, done.Secrets
	r.Users, r.Tokens, r.AuditLines, r.MisplacedTokens = done.Users, done.Tokens, done.Lines, done.Misplaced
	for _, id := range done.Misplaced {
		warn(cmd, "token %s: %s; find out who made it, and delete it", id, keep.MisplacedPermission)
	}
	if len(r.Damage) > 0 || o.structured() && err == nil {
		if perr := o.print(cmd, r, &t); perr != nil {
			return r, perr
		}
	}
	switch {
	case err != nil:
		return r, hintAtFolder(err)
	case len(r.Damage) > 0:
		return r, withHint(fmt.Errorf("%w in %s: %s", errDamaged, o.config.DataDir, count(len(r.Damage), "place")),
			"keep a copy of the folder; unlisted data can still be read; an earlier backup may have the rest")
	}
	o.note(cmd, "All is well: %s of %s, %s of the audit log.",
		count(done.Records, "record"), count(done.Organizations, "organization"), count(int(done.Lines), "line"))
	return r, nil
}
