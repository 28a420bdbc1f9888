package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// A check runs after all workers have stopped. It verifies that
//
//   - each answered request has its records in the audit log, including exactly
//     one that matches the answer. A change is recorded once.
//   - each version since the last check has one such record, and is the result
//     of the record's request on the previous version. So acknowledged changes
//     are complete, and others are complete or missing (replay.go).
//   - versions have no gaps, and each was requested.
//   - the order of the versions is consistent with what clients wrote and read,
//     and nothing that a client has seen is lost.
//   - InfluxDB's view, Vault's view, influxd's view, the names, the history and
//     the audit log agree.
//   - a version is deleted only if a request deleted it.

// picture is what all views of an organization show.
type picture struct {
	history map[uint64]*told
	newest  uint64
	oldest  uint64 // the oldest version that is not pinned
	docs    map[uint64]*document
	values  document
	names   []string
	vault   document
	influxd answer
}

// check compares the server's state with the model. The error is errKilled if
// the server was killed during the check; the check can then be repeated. late
// means that the audit log may still be catching up.
func (w *world) check(ctx context.Context, p *process, late bool) error {
	if err := w.found(); err != nil {
		return err
	}
	pictures := make([]*picture, len(w.orgs))
	for i, o := range w.orgs {
		var err error
		if pictures[i], err = w.look(ctx, w.api(p), o); err != nil {
			if p.gone() {
				return p.ended()
			}
			return fmt.Errorf("read %q: %w", o.name, err)
		}
	}
	if err := w.readLog(ctx, pictures, late); err != nil {
		return err
	}
	w.counts.checks++
	w.counts.lines += len(w.records)
	claims, err := w.claim(w.records)
	if err != nil {
		return err
	}
	for i, o := range w.orgs {
		if err := w.checkOrg(o, pictures[i], claims); err != nil {
			return fmt.Errorf("%q: %w", o.name, err)
		}
	}
	w.counts.unansweredIn += claims.late
	w.settle(claims, late)
	return w.log.next()
}

// readLog reads the new lines of the audit log. Records that a failing log
// could not take follow when it works again, which late allows for. A server
// that has just started recovers all records before it listens.
func (w *world) readLog(ctx context.Context, pictures []*picture, late bool) error {
	var broken error
	err := eventually(ctx, "recorded", func() error {
		var more []*record
		if more, broken = w.log.read(); broken != nil {
			return nil
		}
		w.records = append(w.records, more...)
		if !late {
			return nil // the checks find and name missing records
		}
		return w.missing(pictures)
	})
	if broken != nil {
		return fmt.Errorf("read the audit log: %w", broken)
	}
	return err
}

// missing returns an error if a record is missing from the audit log.
func (w *world) missing(pictures []*picture) error {
	versions, requests := map[string]map[uint64]bool{}, map[string]bool{}
	for _, r := range w.records {
		requests[r.Request] = true
		if versions[r.Organization] == nil {
			versions[r.Organization] = map[uint64]bool{}
		}
		if r.makesVersion() {
			versions[r.Organization][r.Version] = true
		}
	}
	for i, o := range w.orgs {
		for n := o.model.last + 1; n <= pictures[i].newest; n++ {
			if !versions[o.id][n] {
				return fmt.Errorf("version %d of %q is not in the audit log", n, o.name)
			}
		}
	}
	for _, k := range w.workers {
		for _, op := range k.done {
			if op.outcome == acknowledged && !requests[op.request] {
				return fmt.Errorf("%s is not in the audit log", op)
			}
		}
	}
	return nil
}

// look reads all views of an organization.
func (w *world) look(ctx context.Context, a *api, o *org) (*picture, error) {
	s := &picture{history: map[uint64]*told{}, docs: map[uint64]*document{}}
	var history struct{ Versions []*told }
	if err := a.do(ctx, "GET", influxPath(o.id, "history"), nil).in(&history); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	for _, t := range history.Versions {
		if s.history[t.Version] != nil {
			return nil, fmt.Errorf("version %d is in the history twice", t.Version)
		}
		s.history[t.Version] = t
		s.newest = max(s.newest, t.Version)
	}
	s.oldest = 1
	if keep := uint64(o.keep); s.newest > keep {
		s.oldest = s.newest - keep + 1
	}
	if err := s.readDocuments(ctx, a, o); err != nil {
		return nil, err
	}
	var err error
	if s.values, err = valuesOf(a.do(ctx, "GET", influxPath(o.id, "values"), nil)); err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	var names struct{ Secrets []string }
	if err := a.do(ctx, "GET", influxPath(o.id), nil).in(&names); err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	s.names = names.Secrets
	if s.vault, _, err = documentOf(a.do(ctx, "GET", vaultKV+"/data/"+o.id, nil)); err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	s.influxd = a.do(ctx, "GET", influxd+"/data/"+o.id, nil)
	return s, s.influxd.err
}

// readDocuments reads the new versions and some of the others.
func (s *picture) readDocuments(ctx context.Context, a *api, o *org) error {
	var wanted []uint64
	for n := range s.history {
		if n > o.model.last || s.history[n].Pinned || n%97 == s.newest%97 || n+3 > o.model.last {
			wanted = append(wanted, n)
		}
	}
	slices.Sort(wanted)
	var mu sync.Mutex
	var failed error
	var all sync.WaitGroup
	const readers = 8
	for r := range readers {
		all.Go(func() {
			for i := r; i < len(wanted); i += readers {
				d, ok, err := documentOf(a.do(ctx, "GET", fmt.Sprintf("%s/data/%s?version=%d", vaultKV, o.id, wanted[i]), nil))
				switch {
				case err == nil && !ok:
					err = errors.New("it is in the history, but cannot be read")
				case err == nil && d.version != wanted[i]:
					err = fmt.Errorf("it was returned as version %d", d.version)
				}
				mu.Lock()
				if s.docs[wanted[i]] = &d; err != nil && failed == nil {
					failed = fmt.Errorf("version %d: %w", wanted[i], err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failed
}

// claims maps requests to their records.
type claims struct {
	of       map[*record]*operation
	versions map[string]map[uint64]*record // by organization
	late     int                           // unanswered changes that were made
}

// claim assigns the records to the requests.
func (w *world) claim(records []*record) (*claims, error) {
	c := &claims{of: map[*record]*operation{}, versions: map[string]map[uint64]*record{}}
	byRequest := map[string][]*record{}
	byToken := map[string][]*record{}
	for _, r := range records {
		byRequest[r.Request] = append(byRequest[r.Request], r)
		byToken[r.Token] = append(byToken[r.Token], r)
	}
	for _, k := range w.workers {
		for _, op := range k.done {
			if op.request == "" {
				k.shared++
				continue
			}
			of := byRequest[op.request]
			if err := op.recorded(of); err != nil {
				return nil, err
			}
			for _, r := range of {
				c.of[r] = op
			}
		}
		if err := k.checkShared(byToken[k.tokenID]); err != nil {
			return nil, err
		}
		if err := c.claimUnanswered(k, byToken[k.tokenID]); err != nil {
			return nil, err
		}
	}
	for _, r := range records {
		if !r.makesVersion() {
			continue
		}
		of := c.versions[r.Organization]
		if of == nil {
			of = map[uint64]*record{}
			c.versions[r.Organization] = of
		}
		if other := of[r.Version]; other != nil {
			return nil, fmt.Errorf("%s and %s are of the same version", other, r)
		}
		of[r.Version] = r
	}
	return c, nil
}

// recorded checks the records of an answered request.
func (op *operation) recorded(records []*record) error {
	allowed := 0
	for _, r := range records {
		if r.Outcome == "failed" && op.outcome == unableNow {
			continue // recorded while finding the caller
		}
		if r.Token != op.worker.tokenID || r.Organization != op.org.id {
			return fmt.Errorf("%s is recorded with another token or organization: %s", op, r)
		}
		if r.Outcome == "allowed" {
			allowed++
		}
	}
	switch op.outcome {
	case acknowledged:
		if len(records) != 1 {
			return fmt.Errorf("%s was acknowledged, but has %d records in the audit log", op, len(records))
		}
		r := records[0]
		if allowed != 1 && (op.kind != reading || op.seen != nil) {
			return fmt.Errorf("%s was acknowledged, but its record is %s", op, r)
		}
		if op.kind == changing && len(op.change.set) > 0 && !r.makesVersion() {
			return fmt.Errorf("%s was acknowledged, but made no version: %s", op, r)
		}
		if op.version > 0 && r.Version != op.version {
			return fmt.Errorf("%s returned version %d, but its record is %s", op, op.version, r)
		}
		if op.seen != nil {
			op.seen.version = r.Version
			if names := slices.Sorted(maps.Keys(op.seen.secrets)); op.version > 0 && !slices.Equal(names, r.Names) {
				return fmt.Errorf("%s returned the names %q, but its record has %q", op, names, r.Names)
			}
		}
	case refused: // once; the server may also have recorded a read, to explain the refusal
		no := 0
		for _, r := range records {
			switch {
			case r.Outcome == "refused":
				if op.matches(r) {
					no++
				}
			case op.matches(r):
				return fmt.Errorf("%s was refused, but its record is %s", op, r)
			}
		}
		// Later refusals share records, which don't name the request.
		if no == 0 && !op.single {
			op.worker.shared++
			return nil
		}
		if no != 1 {
			return fmt.Errorf("%s was refused, but has %d records of the refusal", op, no)
		}
	default: // it may have happened, once
		op.worker.shared++
		if allowed > 1 {
			return fmt.Errorf("%s has %d records", op, allowed)
		}
	}
	return nil
}

// checkShared checks that shared records don't count more refusals than there
// were. They may count fewer, since the server counts in memory.
func (k *worker) checkShared(records []*record) error {
	for _, r := range records {
		if r.Outcome == "refused" {
			k.shared -= r.Count
		}
	}
	if k.shared < 0 {
		return fmt.Errorf("the audit log counts %d refusals of %s that did not happen", -k.shared, k.name)
	}
	return nil
}

// claimUnanswered finds out whether a worker's last request, which was not
// answered, took effect: then exactly one record with the worker's token
// belongs to no other request.
func (c *claims) claimUnanswered(k *worker, records []*record) error {
	var open []*operation
	for _, op := range k.done {
		if op.outcome == unanswered && op.request == "" {
			open = append(open, op)
		}
	}
	for _, r := range records {
		if c.of[r] != nil || r.Outcome != "allowed" {
			continue
		}
		i := slices.IndexFunc(open, func(op *operation) bool { return op.matches(r) })
		if i < 0 {
			return fmt.Errorf("%s of %s belongs to no request", r, k.name)
		}
		c.of[r] = open[i]
		if open[i].kind != reading {
			c.late++
		}
		open = slices.Delete(open, i, i+1)
	}
	return nil
}

// matches reports whether a record can belong to a request.
func (op *operation) matches(r *record) bool {
	if r.Organization != op.org.id {
		return false
	}
	switch r.Action {
	case "secrets.write":
		return op.kind == changing
	case "secrets.rollback":
		return op.kind == rolling
	case "secrets.delete":
		return op.kind == hiding
	case "secrets.undelete":
		return op.kind == showing
	}
	return op.kind == reading
}

// checkOrg compares an organization with its model.
func (w *world) checkOrg(o *org, s *picture, c *claims) error {
	if told := o.newest.Load(); s.newest < told {
		return fmt.Errorf("version %d was reported, but the newest is %d: it is lost", told, s.newest)
	}
	for n := s.oldest; n <= s.newest; n++ {
		if s.history[n] == nil {
			return fmt.Errorf("version %d is missing: the history goes from %d to %d", n, s.oldest, s.newest)
		}
	}
	o.told(s.newest)
	m := &o.model
	w.takeStates(o, c)
	first, made := m.last+1, []*operation(nil)
	records := c.versions[o.id]
	for n := first; n <= s.newest; n++ {
		r := records[n]
		if r == nil {
			return fmt.Errorf("version %d has no record in the audit log", n)
		}
		delete(records, n)
		op := c.of[r]
		if op == nil {
			return fmt.Errorf("no request made version %d: %s", n, r)
		}
		t := s.history[n]
		if t != nil && (t.TokenID != r.Token || t.Protocol != r.Protocol) {
			return fmt.Errorf("version %d is by token %s and protocol %s in the history, but by %s and %s in the audit log", n, t.TokenID, t.Protocol, r.Token, r.Protocol)
		}
		if err := m.follow(n, op, r, t, s.docs[n]); err != nil {
			return err
		}
		made = append(made, op)
	}
	for _, r := range records {
		return fmt.Errorf("the newest version is %d, but there is %s", s.newest, r)
	}
	w.counts.versions += len(made)
	if err := w.checkReads(o, first, made); err != nil {
		return err
	}
	if err := s.agree(o); err != nil {
		return err
	}
	pinned := map[uint64]bool{}
	for n, t := range s.history {
		pinned[n] = t.Pinned
	}
	// Back to the oldest version that a stale write can be merged with.
	m.forget(uint64(o.keep)+100, pinned)
	return nil
}

// takeStates adds to the model which versions were deleted and undeleted.
func (w *world) takeStates(o *org, c *claims) {
	note := func(op *operation, current uint64, maybe bool) {
		s := stateChange{op.kind == hiding, op.sent, op.end(), maybe}
		n := current
		if !s.hide {
			n = op.change.show
		}
		o.model.states[n] = append(o.model.states[n], s)
	}
	recorded := map[*operation]bool{}
	for r, op := range c.of {
		if r.Organization == o.id && r.Outcome == "allowed" && (op.kind == hiding || op.kind == showing) {
			recorded[op] = true
			note(op, r.Version, false)
		}
	}
	for _, k := range w.workers {
		for _, op := range k.done {
			if op.org != o || op.outcome != unableNow || recorded[op] {
				continue
			}
			switch op.kind {
			case showing:
				note(op, 0, true)
			case hiding: // any version that was current since then
				for n := max(op.newest, 1); n <= o.newest.Load(); n++ {
					note(op, n, true)
				}
			}
		}
	}
}

// checkReads verifies the reads that happened while the versions were made.
func (w *world) checkReads(o *org, first uint64, made []*operation) error {
	var reads []*operation
	for _, k := range w.workers {
		for _, op := range k.done {
			if op.org != o || op.seen == nil || op.outcome != acknowledged {
				continue
			}
			d := op.seen
			if d.version > o.model.last {
				return fmt.Errorf("%s saw version %d, but the newest is %d: it is lost", op, d.version, o.model.last)
			}
			if len(made) > 0 {
				reads = append(reads, op)
			}
			content, known := o.model.content[d.version]
			switch {
			case !known:
			case len(d.secrets) == 0 && o.model.wasHidden(d.version): // seen while it was hidden
			case op.version == 0: // a list of names only
				if !slices.Equal(slices.Sorted(maps.Keys(d.secrets)), slices.Sorted(maps.Keys(content))) {
					return fmt.Errorf("%s saw the names%s, but version %d has%s", op, describe(d.secrets), d.version, describe(content))
				}
			case d.hidden != (d.version == 0):
				return fmt.Errorf("%s saw version %d as deleted, but no request deleted it", op, d.version)
			case !maps.Equal(d.secrets, content):
				return fmt.Errorf("%s saw%s\nbut version %d has%s", op, describe(d.secrets), d.version, describe(content))
			}
		}
	}
	return order(first, made, reads)
}

// agree compares the views with the model and with each other.
func (s *picture) agree(o *org) error {
	m := &o.model
	for n, d := range s.docs {
		if !m.may(n, d.hidden) {
			return fmt.Errorf("version %d: deleted is %t, which is not possible in any order of the requests", n, d.hidden)
		}
		if content, known := m.content[n]; known && !d.hidden && !maps.Equal(content, d.secrets) {
			return fmt.Errorf("version %d has%s\nbut had%s", n, describe(d.secrets), describe(content))
		}
	}
	if s.newest == 0 {
		return nil
	}
	hidden := s.docs[s.newest].hidden
	var content map[string]string
	if !hidden {
		content = m.content[s.newest]
	}
	if s.values.version != s.newest || s.values.hidden != hidden || !maps.Equal(s.values.secrets, content) {
		return fmt.Errorf("the values are of version %d (deleted: %t)%s\nbut version %d (deleted: %t) has%s", s.values.version, s.values.hidden, describe(s.values.secrets), s.newest, hidden, describe(content))
	}
	if s.vault.version != s.newest || s.vault.hidden != hidden || !maps.Equal(s.vault.secrets, content) {
		return fmt.Errorf("the document is of version %d (deleted: %t)%s\nbut version %d (deleted: %t) has%s", s.vault.version, s.vault.hidden, describe(s.vault.secrets), s.newest, hidden, describe(content))
	}
	if names := slices.Sorted(maps.Keys(content)); !slices.Equal(s.names, names) {
		return fmt.Errorf("the names are %q, but version %d has %q", s.names, s.newest, names)
	}
	d, ok, err := documentOf(s.influxd)
	if err != nil || ok == hidden || s.influxd.status == http.StatusOK && (d.version != s.newest || !maps.Equal(d.secrets, content)) {
		return fmt.Errorf("influxd gets status %d, version %d%s\nbut version %d (deleted: %t) has%s", s.influxd.status, d.version, describe(d.secrets), s.newest, hidden, describe(content))
	}
	return nil
}

// settle counts and drops what was checked. It retains changes whose outcome
// is still unknown: while the server lives, their records can follow later.
func (w *world) settle(c *claims, late bool) {
	recorded := map[*operation]bool{}
	for r, op := range c.of {
		recorded[op] = recorded[op] || r.Outcome == "allowed"
	}
	for _, k := range w.workers {
		var open []*operation
		for _, op := range k.done {
			if op.outcome == unableNow && op.kind != reading && !recorded[op] && late {
				open = append(open, op)
				continue
			}
			w.counts.count(op)
		}
		k.done = open
	}
	w.records = nil
}

func (n *counts) count(op *operation) {
	switch {
	case op.outcome == unanswered:
		n.unanswered++
	case op.outcome == refused:
		n.refused++
	case op.outcome == unableNow:
		n.unavailable++
	case op.kind == reading:
		n.reads++
	default:
		n.acknowledged++
	}
}
