package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/spf13/cobra"
)

func newAuditCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "audit",
		Short: "Read and verify the audit log",
		Long: `Read and verify the audit log. Each line says who did what to which secrets, when, from
where, by which protocol, and whether it was allowed. Lines never contain values. Each line
includes the hash of the previous one.

"list" asks a running server. "verify" and "tail" need no server and no token, only
permission to read the file. They read the server's settings from flags, FLUXKEEP_…
variables and its configuration file.`,
		Example: `  fluxkeep audit list --secret db_password --since 30d
  fluxkeep audit verify --data-dir /var/lib/fluxkeep
  fluxkeep audit tail --data-dir /var/lib/fluxkeep --follow`,
	},
		newAuditListCommand(),
		newAuditVerifyCommand(),
		newAuditTailCommand(),
	)
}

const noLogHint = "set --data-dir or --audit-log to the log's place; the server creates it"

func newAuditVerifyCommand() *cobra.Command {
	var o output
	var since string
	c := config.New()
	cmd := &cobra.Command{
		Use:   "verify [LOG...]",
		Short: "Verify that no line of the audit log was changed, removed or added",
		Long: `Read all files of the audit log and check whether a line was changed, removed, added or
moved. The server may be running.

The hash chain alone can't show that the end of the log was cut off. If the server is
stopped and the key is available, the log is also compared with the last checkpoint in
the store. With --since, it is compared with a checkpoint that you saved from an earlier
run of this command. That works at any time, even against an attacker who can write both
the log and the store.

Servers that share a store have a log each. Give the files of all of them: each is
verified, and also that every record is in one log, or explained in two, which happens
when a server takes over the records of one that has died.

The exit status is 0 if the log is unchanged, and 1 if it isn't.`,
		Example: `  fluxkeep audit verify --data-dir /var/lib/fluxkeep
  fluxkeep audit verify --data-dir /var/lib/fluxkeep --json | jq -r .checkpoint
  fluxkeep audit verify a/audit.log b/audit.log c/audit.log`,
		Args: arguments(0, -1),
		RunE: func(cmd *cobra.Command, logs []string) error {
			if len(logs) > 0 {
				if since != "" {
					return usageError(cmd, errors.New("--since is for one log: give it with --audit-log"))
				}
				return verifyTogether(cmd, &o, logs)
			}
			if err := c.Load(os.Environ()); err != nil {
				return err
			}
			return verifyAudit(cmd, &o, c, since)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&since, "since", "", "`checkpoint` that the log must hold, NUMBER:HASH")
	o.addFormat(cmd, fs)
	o.addQuiet(cmd, fs, "print only the checkpoint")
	addDataFlags(fs, c)
	return cmd
}

// auditReport is what verify prints.
type auditReport struct {
	Log        string    `json:"log"`
	Files      int       `json:"files"`
	Lines      uint64    `json:"lines"`
	First      uint64    `json:"first"`
	From       time.Time `json:"from,omitzero"`
	To         time.Time `json:"to,omitzero"`
	Checkpoint string    `json:"checkpoint"`        // of the last line
	Vouched    string    `json:"vouched,omitempty"` // the checkpoint of the store
	Missing    uint64    `json:"missing,omitempty"` // lines in older files that are not here
}

func newAuditReport(log string, r audit.Report) auditReport {
	return auditReport{
		Log: log, Files: r.Files, Lines: r.Lines, First: r.First,
		From: r.FirstTime, To: r.LastTime, Checkpoint: r.Last.String(), Missing: r.Missing,
	}
}

func hintAtDamage(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return withHint(err, noLogHint)
	case is[*audit.DamageError](err):
		return withHint(err, "the log was changed; the lines before that place are as the server wrote them")
	}
	return err
}

// togetherReport is what verify prints about the logs of several servers.
type togetherReport struct {
	Logs    []auditReport `json:"logs"`
	Records uint64        `json:"records"` // each counted once
	Copies  uint64        `json:"copies"`  // lines that repeat a record, all explained
}

func verifyTogether(cmd *cobra.Command, o *output, logs []string) error {
	report, err := audit.VerifyTogether(cmd.Context(), logs)
	if err != nil {
		return hintAtDamage(err)
	}
	all := togetherReport{Records: report.Records, Copies: report.Copies}
	for i, r := range report.Logs {
		all.Logs = append(all.Logs, newAuditReport(logs[i], r))
	}
	if o.structured() {
		return o.printValue(cmd, all)
	}
	for i, r := range all.Logs {
		if err := r.print(cmd, o, report.Logs[i].Torn); err != nil {
			return err
		}
	}
	if !o.quiet {
		fmt.Fprintf(cmd.OutOrStdout(), "together they have %s", count(int(all.Records), "record"))
		if all.Copies > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "; %s repeat records that were taken over", count(int(all.Copies), "line"))
		}
		fmt.Fprintln(cmd.OutOrStdout())
	}
	return nil
}

func verifyAudit(cmd *cobra.Command, o *output, c *config.Config, since string) error {
	if c.AuditLog == "-" {
		return withHint(errors.New("the audit log goes to standard output, not to a file"), "give the file that it was written to with --audit-log")
	}
	var check *audit.Checkpoint
	if since != "" {
		check = new(audit.Checkpoint)
		if err := check.UnmarshalText([]byte(since)); err != nil {
			return usageError(cmd, err)
		}
	}
	vouched, err := storeCheckpoint(cmd, o, c)
	if err != nil {
		return err
	}
	report, err := verifyAgainst(cmd.Context(), c.AuditLog, check, vouched)
	if err != nil {
		return hintAtDamage(err)
	}
	r := newAuditReport(c.AuditLog, report)
	if vouched != nil {
		r.Vouched = vouched.String()
	}
	return r.print(cmd, o, report.Torn)
}

// verifyAgainst verifies the log once for each checkpoint that it must hold.
func verifyAgainst(ctx context.Context, path string, checks ...*audit.Checkpoint) (report audit.Report, err error) {
	done := false
	for _, check := range checks {
		if check == nil {
			continue
		}
		if report, err = audit.Verify(ctx, path, check); err != nil {
			return report, err
		}
		done = true
	}
	if done {
		return report, nil
	}
	return audit.Verify(ctx, path, nil)
}

func (r auditReport) print(cmd *cobra.Command, o *output, torn int64) error {
	switch {
	case o.structured():
		return o.printValue(cmd, r)
	case o.quiet:
		return printLines(cmd.OutOrStdout(), []string{r.Checkpoint})
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%s is whole: %s in %s", printable(r.Log), count(int(r.Lines), "line"), count(r.Files, "file"))
	if r.Lines > 0 {
		fmt.Fprintf(w, ", from line %d (%s) to line %d (%s)", r.First, formatTime(r.From), r.First+r.Lines-1, formatTime(r.To))
	}
	fmt.Fprintf(w, "\ncheckpoint %s\n", r.Checkpoint)
	if r.Vouched != "" {
		fmt.Fprintf(w, "the store vouches for it up to %s\n", r.Vouched)
	}
	if r.Missing > 0 {
		o.note(cmd, "The log starts with line %d: the lines before it are in files that are not here.", r.First)
	}
	if torn > 0 {
		o.note(cmd, "The last line is incomplete: the server is writing it, or stopped while it did.")
	}
	return nil
}

func newAuditTailCommand() *cobra.Command {
	var lines int
	var follow bool
	c := config.New()
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the last lines of the audit log",
		Long: `Print the last lines of the audit log, across its files. Each line is a JSON object.
With --follow, print new lines as they are added, also after the log starts a new file.
The lines are not verified.`,
		Example: `  fluxkeep audit tail --data-dir /var/lib/fluxkeep
  fluxkeep audit tail --data-dir /var/lib/fluxkeep --lines 100 | jq 'select(.outcome == "refused")'
  fluxkeep audit tail --data-dir /var/lib/fluxkeep --follow`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Load(os.Environ()); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			err := audit.Tail(cmd.Context(), c.AuditLog, lines, follow, func(line []byte) error {
				_, err := fmt.Fprintf(w, "%s\n", line)
				return err
			})
			if follow && errors.Is(err, context.Canceled) {
				return nil // the usual way to stop following
			}
			if errors.Is(err, fs.ErrNotExist) {
				return withHint(err, noLogHint)
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.IntVarP(&lines, "lines", "n", 10, "`number` of lines; -1 for all")
	fs.BoolVarP(&follow, "follow", "f", false, "print new lines as they are added")
	addLogFlags(fs, c)
	return cmd
}
