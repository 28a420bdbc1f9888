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

// What a check finds out, after everybody was told to stop:
//
//   - each request that was answered has its records in the audit log: one,
//     and one that says the same as the answer. A change is recorded once.
//   - each version since the last check has one such record, and follows from
//     the version before it by the request that the record is of; so what was
//     acknowledged is there whole, and what was not is there whole or not at
//     all (replay.go).
//   - there is no gap in the versions, and none that nobody has asked for.
//   - the order of the versions is one that those who wrote and read them can
//     have seen, and nobody was shown what is gone now.
//   - InfluxDB's view, Vault's, the one for influxd, the names, the history and
//     the audit log all tell the same.
//   - a version is deleted only if somebody has deleted it.

// picture is all that an organization's views show.
type picture struct {
	history map[uint64]*told
	newest  uint64
	oldest  uint64 // of those that are kept without being pinned
	docs    map[uint64]*document
	values  document
	names   []string
	vault   document
	influxd answer
}

// check compares what the server shows with the model. The error is errKilled
// when the server was killed meanwhile; then nothing is lost by checking again.
// late says that the audit log may still be catching up.
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
			return fmt.Errorf("look at %q: %w", o.name, err)
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

// readLog reads what was added to the audit log. What a broken log could not
// take comes when it works again, which late allows for. A server that has
// just started has brought over everything before it listens.
func (w *world) readLog(ctx context.Context, pictures []*picture, late bool) error {
	var broken error
	err := eventually(ctx, "recorded", func() error {
		var more []*record
		if more, broken = w.log.read(); broken != nil {
			return nil
		}
		w.records = append(w.records, more...)
		if !late {
			return nil // what is missing is found, and named, by the checks
		}
		return w.missing(pictures)
	})
	if broken != nil {
		return fmt.Errorf("read the audit log: %w", broken)
	}
	return err
}

// missing says what should be in the audit log and is not.
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
			return nil, fmt.Errorf("the history has version %d twice", t.Version)
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

// readDocuments reads the versions that are new, and some of the others.
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
					err = errors.New("it is in the history, and can't be read")
				case err == nil && d.version != wanted[i]:
					err = fmt.Errorf("it says that it is version %d", d.version)
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

// claims says which request each record is of.
type claims struct {
	of       map[*record]*operation
	versions map[string]map[uint64]*record // by organization
	late     int                           // changes that were done and not answered
}

// claim finds the records of each request.
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

// recorded checks the records of a request that was answered.
func (op *operation) recorded(records []*record) error {
	allowed := 0
	for _, r := range records {
		if r.Outcome == "failed" && op.outcome == unableNow {
			continue // on the way to finding out who it is from
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
			return fmt.Errorf("%s was acknowledged, and the audit log has %d records of it", op, len(records))
		}
		r := records[0]
		if allowed != 1 && (op.kind != reading || op.seen != nil) {
			return fmt.Errorf("%s was acknowledged, and the audit log says: %s", op, r)
		}
		if op.kind == changing && len(op.change.set) > 0 && !r.makesVersion() {
			return fmt.Errorf("%s was acknowledged, and made no version: %s", op, r)
		}
		if op.version > 0 && r.Version != op.version {
			return fmt.Errorf("%s was told of version %d, and the audit log says: %s", op, op.version, r)
		}
		if op.seen != nil {
			op.seen.version = r.Version
			if names := slices.Sorted(maps.Keys(op.seen.secrets)); op.version > 0 && !slices.Equal(names, r.Names) {
				return fmt.Errorf("%s was shown %q, and the audit log names %q", op, names, r.Names)
			}
		}
	case refused: // once; to say why, the server may have read, or tried to
		no := 0
		for _, r := range records {
			switch {
			case r.Outcome == "refused":
				if op.matches(r) {
					no++
				}
			case op.matches(r):
				return fmt.Errorf("%s was refused, and the audit log says: %s", op, r)
			}
		}
		if no != 1 {
			return fmt.Errorf("%s was refused, and the audit log has %d records of that", op, no)
		}
	default: // it may have been done, once
		if allowed > 1 {
			return fmt.Errorf("%s has %d records", op, allowed)
		}
	}
	return nil
}

// claimUnanswered finds out whether the last request of a worker, which got no
// answer, was done: then there is one record with the worker's token that is
// of no other request.
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
			return fmt.Errorf("%s of %s is of no request", r, k.name)
		}
		c.of[r] = open[i]
		if open[i].kind != reading {
			c.late++
		}
		open = slices.Delete(open, i, i+1)
	}
	return nil
}

// matches reports whether a record can be of a request.
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
		return fmt.Errorf("version %d was told of, and the newest is %d: it is lost", told, s.newest)
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
			return fmt.Errorf("version %d was made by nobody: %s", n, r)
		}
		t := s.history[n]
		if t != nil && (t.TokenID != r.Token || t.Protocol != r.Protocol) {
			return fmt.Errorf("the history says that version %d is by token %s by protocol %s, and the audit log %s and %s", n, t.TokenID, t.Protocol, r.Token, r.Protocol)
		}
		if err := m.follow(n, op, r, t, s.docs[n]); err != nil {
			return err
		}
		made = append(made, op)
	}
	for _, r := range records {
		return fmt.Errorf("the newest version is %d, and there is %s", s.newest, r)
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
	// As far back as a stale write can be merged with.
	m.forget(uint64(o.keep)+100, pinned)
	return nil
}

// takeStates puts into the model which versions were deleted and undeleted.
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
			case hiding: // the version that was the current one at some time since
				for n := max(op.newest, 1); n <= o.newest.Load(); n++ {
					note(op, n, true)
				}
			}
		}
	}
}

// checkReads compares what was read while the versions were made.
func (w *world) checkReads(o *org, first uint64, made []*operation) error {
	var reads []*operation
	for _, k := range w.workers {
		for _, op := range k.done {
			if op.org != o || op.seen == nil || op.outcome != acknowledged {
				continue
			}
			d := op.seen
			if d.version > o.model.last {
				return fmt.Errorf("%s saw version %d, and the newest is %d: it is lost", op, d.version, o.model.last)
			}
			if len(made) > 0 {
				reads = append(reads, op)
			}
			content, known := o.model.content[d.version]
			switch {
			case !known:
			case len(d.secrets) == 0 && o.model.wasHidden(d.version): // seen while it was
			case op.version == 0: // a list of names
				if !slices.Equal(slices.Sorted(maps.Keys(d.secrets)), slices.Sorted(maps.Keys(content))) {
					return fmt.Errorf("%s saw the names%s, and version %d has%s", op, describe(d.secrets), d.version, describe(content))
				}
			case d.hidden != (d.version == 0):
				return fmt.Errorf("%s saw version %d deleted, which nobody did", op, d.version)
			case !maps.Equal(d.secrets, content):
				return fmt.Errorf("%s saw%s\nand version %d has%s", op, describe(d.secrets), d.version, describe(content))
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
			return fmt.Errorf("version %d: deleted is %t, which no order of the requests explains", n, d.hidden)
		}
		if content, known := m.content[n]; known && !d.hidden && !maps.Equal(content, d.secrets) {
			return fmt.Errorf("version %d holds%s\nand held%s", n, describe(d.secrets), describe(content))
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
		return fmt.Errorf("the values are of version %d (deleted: %t)%s\nand version %d (deleted: %t) has%s", s.values.version, s.values.hidden, describe(s.values.secrets), s.newest, hidden, describe(content))
	}
	if s.vault.version != s.newest || s.vault.hidden != hidden || !maps.Equal(s.vault.secrets, content) {
		return fmt.Errorf("the document is of version %d (deleted: %t)%s\nand version %d (deleted: %t) has%s", s.vault.version, s.vault.hidden, describe(s.vault.secrets), s.newest, hidden, describe(content))
	}
	if names := slices.Sorted(maps.Keys(content)); !slices.Equal(s.names, names) {
		return fmt.Errorf("the names are %q, and version %d has %q", s.names, s.newest, names)
	}
	d, ok, err := documentOf(s.influxd)
	if err != nil || ok == hidden || s.influxd.status == http.StatusOK && (d.version != s.newest || !maps.Equal(d.secrets, content)) {
		return fmt.Errorf("influxd is shown status %d, version %d%s\nand version %d (deleted: %t) has%s", s.influxd.status, d.version, describe(d.secrets), s.newest, hidden, describe(content))
	}
	return nil
}

// settle counts what was checked and lets it go, but for changes of which it
// is not known yet whether they were made: their records may come later, as
// long as the server lives.
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
