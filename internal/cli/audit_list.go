package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/spf13/cobra"
)

// auditList holds the flags of "audit list".
type auditList struct {
	remote
	config       *config.Config
	query        client.AuditQuery
	since, until string
	most         int
	follow       bool
}

func newAuditListCommand() *cobra.Command {
	l := &auditList{config: config.New()}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List who did what, newest first",
		Long: `List the records of the audit log, newest first, with names instead of IDs where they
are known. An operator sees all records, an organization's owner those of the
organization. The flags select records; all of them must match.

A record of a read or change has the secrets' names: + set or read, - deleted. WHO is the
description of the token or, for a session, the user's name. VIA is the protocol: influxdb,
vault, influxd, web, cli or offline.

Of several servers that share their data in etcd, each has a log of its own. The command
lists that of the server that answers; ask each of them with --host.

With --data-dir or --audit-log, the command reads the files of a server on this machine
instead. Names are then shown only if the server is stopped and its key is available.
A search through a long log can take a while; --since limits it.`,
		Example: `  fluxkeep audit list --secret db_password --since 30d
  fluxkeep audit list --user ann --action 'secrets.*'
  fluxkeep audit list --outcome refused --follow
  fluxkeep audit list --data-dir /var/lib/fluxkeep --since 2026-01-31`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd) },
	}
	fs := cmd.Flags()
	fs.StringVar(&l.query.Secret, "secret", "", "only records that name this `secret`")
	fs.StringVar(&l.query.User, "user", "", "only records of this user's `name` or ID")
	fs.StringVar(&l.query.TokenID, "by-token", "", "only records of the token with this `ID`")
	fs.StringVar(&l.query.Org, "org", "", "only records of the organization with this `name` or ID")
	fs.StringVar(&l.query.Action, "action", "", "only this `action`, such as secrets.write; secrets.* stands for all that start so")
	fs.StringVar(&l.query.Outcome, "outcome", "", "only this `outcome`: allowed, refused or failed")
	fs.StringVar(&l.query.Protocol, "protocol", "", "only this `protocol`")
	fs.StringVar(&l.since, "since", "", "only records since this `time`: 2h, 30d, 2026-01-31, 2026-01-31T12:00:00Z")
	fs.StringVar(&l.until, "until", "", "only records before this `time`")
	fs.IntVarP(&l.most, "lines", "n", 100, "`number` of records; -1 for all")
	fs.BoolVarP(&l.follow, "follow", "f", false, "print new records as they are added, oldest first")
	completeValues(cmd, "outcome", audit.Allowed, audit.Refused, audit.Failed)
	l.addToOperator(cmd)
	addDataFlags(fs, l.config)
	return cmd
}

// auditSource returns a page of an audit log.
type auditSource func(context.Context, client.AuditQuery) (client.AuditPage, error)

func (l *auditList) run(cmd *cobra.Command) error {
	now := time.Now()
	var err error
	if l.query.Since, err = parsePast("--since", l.since, now); err != nil {
		return usageError(cmd, err)
	}
	if l.query.Until, err = parsePast("--until", l.until, now); err != nil {
		return usageError(cmd, err)
	}
	if l.follow && l.until != "" {
		return usageError(cmd, errors.New("--follow has no end: leave out --until"))
	}
	if acl.LooksLikeID(l.query.Org) {
		l.query.OrgID, l.query.Org = l.query.Org, ""
	}
	if acl.LooksLikeID(l.query.User) {
		l.query.UserID, l.query.User = l.query.User, ""
	}
	source, err := l.source(cmd)
	if err != nil {
		return err
	}
	last, err := l.list(cmd, source)
	if err != nil || !l.follow {
		return err
	}
	err = l.followFrom(cmd, source, last)
	if errors.Is(err, context.Canceled) {
		return nil // the usual way to stop following
	}
	return err
}

// parsePast reads a time, or how long ago it was; "" is the zero time.
func parsePast(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, ok := parseTime(text); ok {
		return t, nil
	}
	if d, ok := parseDuration(text); ok {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%s must be a time such as 2h or 30d ago, 2026-01-31 or 2026-01-31T12:00:00Z", flag)
}

// source returns where the records come from: a server, or the log's files.
func (l *auditList) source(cmd *cobra.Command) (auditSource, error) {
	if !cmd.Flags().Changed("data-dir") && !cmd.Flags().Changed("audit-log") {
		s, err := l.connect(cmd)
		if err != nil {
			return nil, err
		}
		return s.AuditLog, nil
	}
	if err := l.config.Load(os.Environ()); err != nil {
		return nil, err
	}
	q, err := offlineQuery(l.query)
	if err != nil {
		return nil, usageError(cmd, err)
	}
	_, err = datadir.AuditLog(cmd.Context(), l.config, keep.AuditQuery{Limit: 1})
	switch {
	case err == nil:
		return func(ctx context.Context, page client.AuditQuery) (client.AuditPage, error) {
			q.Before, q.After, q.Limit = page.Before, page.After, page.Limit
			return clientPage(datadir.AuditLog(ctx, l.config, q))
		}, nil
	case !errors.Is(err, datadir.ErrLocked) && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if l.query.User != "" || l.query.Org != "" {
		return nil, withHint(errors.New("names can't be looked up: the server is running, or its store or key is not available"),
			"give IDs, or ask the server: leave out --data-dir and --audit-log")
	}
	l.note(cmd, "Names are not shown: the server is running, or its store or key is not available.")
	return func(ctx context.Context, page client.AuditQuery) (client.AuditPage, error) {
		found, err := audit.Find(ctx, l.config.AuditLog, rawQuery(q, page))
		if errors.Is(err, fs.ErrNotExist) {
			err = withHint(err, noLogHint)
		}
		out := keep.AuditPage{Next: found.Next, Last: found.Last, Damage: found.Damage}
		for _, e := range found.Entries {
			e.Called = "" // encrypted
			out.Records = append(out.Records, keep.AuditRecord{Entry: e})
		}
		return clientPage(out, err)
	}, nil
}

// offlineQuery is a query in the domain's terms.
func offlineQuery(q client.AuditQuery) (keep.AuditQuery, error) {
	out := keep.AuditQuery{
		OrganizationName: q.Org, UserName: q.User, Secret: q.Secret, Action: q.Action, Outcome: q.Outcome, Protocol: q.Protocol,
		Since: q.Since, Until: q.Until,
	}
	for _, id := range []struct {
		text string
		to   *keep.ID
	}{{q.OrgID, &out.Organization}, {q.UserID, &out.User}, {q.TokenID, &out.Token}} {
		if id.text == "" {
			continue
		}
		var err error
		if *id.to, err = acl.ParseID(id.text); err != nil {
			return out, err
		}
	}
	return out, nil
}

// rawQuery is a query for files without their store.
func rawQuery(q keep.AuditQuery, page client.AuditQuery) audit.Query {
	out := audit.Query{
		Action: q.Action, Outcome: q.Outcome, Protocol: q.Protocol, Since: q.Since, Until: q.Until,
		Before: page.Before, After: page.After, Limit: page.Limit,
	}
	if q.Secret != "" {
		out.Secret = []string{q.Secret}
	}
	if q.Organization != 0 {
		out.Organizations = []string{q.Organization.String()}
	}
	if q.User != 0 {
		out.User = q.User.String()
	}
	if q.Token != 0 {
		out.Token = q.Token.String()
	}
	return out
}

// clientPage is a page as a server sends it.
func clientPage(p keep.AuditPage, err error) (client.AuditPage, error) {
	out := client.AuditPage{Next: p.Next, Last: p.Last, Damage: p.Damage}
	for _, r := range p.Records {
		out.Records = append(out.Records, client.AuditRecord{
			Number: r.Seq, Time: r.Time, Action: r.Action, Outcome: r.Outcome, Code: r.Code,
			OrgID: r.Organization, Org: r.OrganizationName, UserID: r.User, User: r.UserName, TokenID: r.Token, Token: r.TokenName,
			LoginID: r.Session, Protocol: r.Protocol, Remote: r.Remote, Request: r.Request, Trace: r.Trace,
			Version: r.Version, Names: r.Names, Removed: r.Removed, TargetID: r.Target, Target: r.Called, Count: r.Count, Detail: r.Detail,
		})
	}
	return out, err
}

// maxAuditPage is the most records that a server sends at once.
const maxAuditPage = 1000

// collect gets up to most records, all if most is negative. It also returns the
// number of the log's last record.
func (l *auditList) collect(cmd *cobra.Command, source auditSource, q client.AuditQuery, most int) (records []client.AuditRecord, last uint64, err error) {
	for most != 0 {
		q.Limit = maxAuditPage
		if most > 0 {
			q.Limit = min(most, maxAuditPage)
		}
		page, err := source(cmd.Context(), q)
		if err != nil {
			return records, last, err
		}
		for _, what := range page.Damage {
			warn(cmd, "the audit log is damaged: %s", what)
		}
		records = append(records, page.Records...)
		last = max(last, page.Last)
		if most > 0 {
			most -= len(page.Records)
		}
		if q.Before, q.Wait = page.Next, 0; page.Next == 0 {
			break
		}
	}
	return records, last, nil
}

// list prints the newest records and returns the number of the log's last one.
func (l *auditList) list(cmd *cobra.Command, source auditSource) (last uint64, err error) {
	records, last, err := l.collect(cmd, source, l.query, l.most)
	if err != nil {
		return 0, err
	}
	if l.follow {
		return last, l.printNext(cmd, records)
	}
	t := table{header: auditHeader}
	for _, r := range records {
		t.add(strconv.FormatUint(r.Number, 10), auditRow(r)...)
	}
	if err := l.print(cmd, orEmpty(records), &t); err != nil {
		return 0, err
	}
	if l.most > 0 && len(records) == l.most {
		l.note(cmd, "There may be older records: --lines shows more.")
	}
	return last, nil
}

// followFrom prints what follows a record, until it is interrupted.
func (l *auditList) followFrom(cmd *cobra.Command, source auditSource, last uint64) error {
	const period = time.Second // each request has a record too
	for {
		q := l.query
		q.After, q.Wait = last, time.Minute
		records, to, err := l.collect(cmd, source, q, -1)
		if err != nil {
			return err
		}
		last = max(last, to)
		if err := l.printNext(cmd, records); err != nil {
			return err
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(period):
		}
	}
}

// printNext prints records from the oldest to the newest, one a line.
func (l *auditList) printNext(cmd *cobra.Command, records []client.AuditRecord) error {
	w := cmd.OutOrStdout()
	for _, r := range slices.Backward(records) {
		var err error
		switch {
		case l.structured():
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			err = e.Encode(r)
		case l.quiet:
			_, err = fmt.Fprintln(w, r.Number)
		default:
			cells := auditRow(r)
			for i := range cells {
				cells[i] = printable(cells[i])
			}
			_, err = fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "  "), " "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var auditHeader = []string{"TIME", "WHO", "VIA", "ACTION", "OUTCOME", "ABOUT", "ORGANIZATION", "FROM"}

func auditRow(r client.AuditRecord) []string {
	outcome := r.Outcome
	if r.Count > 1 {
		outcome += " ×" + strconv.FormatUint(r.Count, 10)
	}
	return []string{
		formatTime(r.Time), auditWho(r), r.Protocol, r.Action, outcome, auditAbout(r), cmp.Or(r.Org, r.OrgID), r.Remote,
	}
}

// auditWho names who made a request: the token or, for a session, the user.
func auditWho(r client.AuditRecord) string {
	if r.TokenID != "" {
		return cmp.Or(r.Token, "token "+r.TokenID)
	}
	return cmp.Or(r.User, r.UserID, "-")
}

// auditAbout names what a request was about.
func auditAbout(r client.AuditRecord) string {
	var parts []string
	if names := changesOf(client.Version{Added: r.Names, Removed: r.Removed}, 3); names != "" {
		parts = append(parts, names)
	}
	if target := cmp.Or(r.Target, r.TargetID); target != "" {
		parts = append(parts, printable(target))
	}
	if r.Detail != "" {
		parts = append(parts, "("+r.Detail+")")
	}
	return strings.Join(parts, " ")
}
