package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// worker is a client that sends one request after the other.
type worker struct {
	world   *world
	name    string
	token   string
	tokenID string
	reader  bool
	random  *rand.Rand
	serial  int          // makes its values unique
	done    []*operation // since the last check
	server  *process     // that it works with
	failed  int          // requests that this server has not acknowledged
	shared  int          // requests whose refusal may be in a shared record
	hidden  struct {     // the version that it has deleted and not undeleted
		org     *org
		version uint64
	}
}

const (
	sharedNames = 12 // few, so that writers conflict

	// The server promises a record of its own to each of the first 20 refusals.
	// It counts failures too, and may record two for a request.
	singleRefusals = 20 / 2
)

// meet notes which server the worker talks to.
func (k *worker) meet(p *process) {
	if k.server != p {
		k.server, k.failed = p, 0
	}
}

// work sends the next requests. It returns false when the server is down.
func (k *worker) work(a *api) bool {
	o := k.world.orgs[k.random.IntN(len(k.world.orgs))]
	if k.reader {
		return k.read(a, o)
	}
	if h := k.hidden; h.org != nil {
		// Undelete soon, or the workers find only deleted documents.
		k.hidden.org = nil
		return k.send(a, "POST", vaultKV+"/undelete/"+h.org.id, map[string][]uint64{"versions": {h.version}}, h.org, showing, change{show: h.version})
	}
	if o.large {
		return k.patch(a, o)
	}
	switch n := k.random.IntN(100); {
	case n < 28:
		return k.patch(a, o)
	case n < 36:
		name := k.sharedName()
		return k.send(a, "DELETE", influxPath(o.id, name), nil, o, changing, change{remove: []string{name}})
	case n < 41:
		names := slices.Compact(slices.Sorted(slices.Values([]string{k.sharedName(), k.sharedName(), k.sharedName()})))
		return k.send(a, "POST", influxPath(o.id, "delete"), map[string][]string{"secrets": names}, o, changing, change{remove: names})
	case n < 55:
		return k.rewrite(a, o, vaultKV, true)
	case n < 58:
		return k.rewrite(a, o, vaultKV, false)
	case n < 76:
		return k.rewrite(a, o, influxd, true)
	case n < 84:
		return k.mergePatch(a, o)
	case n < 92:
		return k.patchValues(a, o)
	case n < 95:
		return k.rollBack(a, o)
	case o.deletes:
		return k.send(a, "DELETE", vaultKV+"/data/"+o.id, nil, o, hiding, change{})
	}
	return k.patch(a, o)
}

func (k *worker) sharedName() string { return fmt.Sprintf("shared_%02d", k.random.IntN(sharedNames)) }

// fresh returns unique values.
func (k *worker) fresh(o *org) map[string]string {
	k.serial++
	set := map[string]string{}
	value := func(name string, size int) {
		text := fmt.Sprintf("%s-%d-%s-", k.name, k.serial, name)
		if size > 0 {
			text += strings.Repeat(string(rune('a'+k.random.IntN(26))), size)
		}
		set[name] = text
	}
	if o.large {
		value(fmt.Sprintf("large_%d", k.random.IntN(4)), 16<<10+k.random.IntN(128<<10))
		value("with_"+k.name, 0)
		return set
	}
	for range 1 + k.random.IntN(3) {
		value(k.sharedName(), k.random.IntN(60))
	}
	value("own_"+k.name, 0)
	return set
}

func (k *worker) patch(a *api, o *org) bool {
	set := k.fresh(o)
	return k.send(a, "PATCH", influxPath(o.id), set, o, changing, change{set: set})
}

// rewrite reads the document, changes it, and writes it back as a whole.
func (k *worker) rewrite(a *api, o *org, mount string, cas bool) bool {
	d, ok := k.see(a, o, mount)
	if d == nil {
		return ok
	}
	set := k.fresh(o)
	for name, value := range d.secrets {
		if _, changed := set[name]; !changed && k.random.IntN(12) > 0 {
			set[name] = value
		}
	}
	c := change{set: set, replace: true, merge: mount == influxd}
	body := map[string]any{"data": set}
	if cas {
		version := d.version
		c.cas = &version
		body["options"] = map[string]uint64{"cas": version}
	}
	method := "POST"
	if mount == influxd {
		method = "PUT"
	}
	return k.send(a, method, mount+"/data/"+o.id, body, o, changing, c)
}

func (k *worker) mergePatch(a *api, o *org) bool {
	set := k.fresh(o)
	data := map[string]*string{}
	for name, value := range set {
		data[name] = &value
	}
	c := change{set: set, exists: true}
	if name := k.sharedName(); set[name] == "" {
		data[name] = nil
		c.remove = []string{name}
	}
	return k.send(a, "PATCH", vaultKV+"/data/"+o.id, map[string]any{"data": data}, o, changing, c,
		"Content-Type", "application/merge-patch+json")
}

// patchValues writes through the values API, usually based on the version that
// was read.
func (k *worker) patchValues(a *api, o *org) bool {
	r := k.ask(a, "GET", influxPath(o.id, "values"), nil, o, reading, change{})
	if r.err != nil {
		return false
	}
	d := k.world.last(k).seen
	if d == nil {
		return true
	}
	set := k.fresh(o)
	c := change{set: set}
	body := map[string]*string{}
	for name, value := range set {
		body[name] = &value
	}
	if name := k.sharedName(); set[name] == "" {
		body[name] = nil
		c.remove = []string{name}
	}
	var header []string
	if k.random.IntN(4) > 0 {
		version := d.version
		c.cas = &version
		header = []string{"If-Match", r.etag}
	}
	return k.send(a, "PATCH", influxPath(o.id, "values"), body, o, changing, c, header...)
}

func (k *worker) rollBack(a *api, o *org) bool {
	newest := o.newest.Load()
	if newest < 3 {
		return true
	}
	version := newest - uint64(k.random.IntN(3))
	return k.send(a, "POST", influxPath(o.id, "rollback"), map[string]uint64{"version": version}, o, rolling, change{from: version})
}

// read reads in a random way.
func (k *worker) read(a *api, o *org) bool {
	switch n := k.random.IntN(10); {
	case n < 4:
		_, ok := k.see(a, o, vaultKV)
		return ok
	case n < 6:
		_, ok := k.see(a, o, influxd)
		return ok
	case n < 9:
		return k.send(a, "GET", influxPath(o.id, "values"), nil, o, reading, change{})
	}
	return k.send(a, "GET", influxPath(o.id), nil, o, reading, change{})
}

// see reads the document. It returns an empty one if there is none, and nil if
// there was no successful answer.
func (k *worker) see(a *api, o *org, mount string) (d *document, ok bool) {
	if k.ask(a, "GET", mount+"/data/"+o.id, nil, o, reading, change{}).err != nil {
		return nil, false
	}
	switch op := k.world.last(k); {
	case op.seen != nil:
		d = op.seen
	case op.outcome == acknowledged:
		d = &document{}
	}
	return d, true
}

// last returns a worker's last request.
func (w *world) last(k *worker) *operation { return k.done[len(k.done)-1] }

// send is ask for callers that ignore the answer.
func (k *worker) send(a *api, method, path string, in any, o *org, what kind, c change, header ...string) bool {
	return k.ask(a, method, path, in, o, what, c, header...).err == nil
}

// ask sends a request and records it, with everything that its answer reports.
func (k *worker) ask(a *api, method, path string, in any, o *org, what kind, c change, header ...string) answer {
	op := &operation{worker: k, org: o, what: method + " " + path, kind: what, change: c, newest: o.newest.Load()}
	op.sent = k.world.clock.Add(1)
	// Not the load's context: a request that the client cancels would end this
	// worker without a crash.
	r := a.do(context.Background(), method, path, in, header...)
	op.done = k.world.clock.Add(1)
	op.status, op.request = r.status, r.request
	k.done = append(k.done, op)
	defer func() {
		op.single = k.server != nil && k.failed < singleRefusals
		if op.outcome != acknowledged || op.seen == nil && op.kind == reading {
			k.failed++
		}
	}()
	if r.err != nil {
		if stuck(r.err) {
			k.world.wrong("%s: no answer in %s", op, patience)
		}
		return r
	}
	if k.world.left.Add(-1) == 0 {
		_ = k.server.cmd.Process.Kill() // it may have exited
	}
	if err := op.take(path, r, k.world.broken.Load()); err != nil {
		k.world.wrong("%s: %w", op, err)
	}
	if op.version > 0 {
		o.told(op.version)
	}
	if what == hiding && op.outcome == acknowledged && k.random.IntN(3) > 0 {
		k.hidden.org, k.hidden.version = o, max(op.newest, o.newest.Load())
	}
	return r
}

// take evaluates an answer.
func (op *operation) take(path string, r answer, broken bool) (err error) {
	switch {
	case r.status >= 200 && r.status < 300, op.kind == reading && r.status == http.StatusNotFound:
		op.outcome = acknowledged
	case r.status == http.StatusServiceUnavailable:
		if op.outcome = unableNow; !broken {
			return fmt.Errorf("refused although the disk works: %s", r.body)
		}
		return unavailable(path, r)
	case op.mayRefuse(r.status):
		op.outcome = refused
		return nil
	default:
		return fmt.Errorf("unexpected: %s", r.body)
	}
	if op.kind == reading {
		return op.takeSeen(path, r)
	}
	switch {
	case strings.HasPrefix(path, "/api/") && r.status == http.StatusOK:
		var w struct{ Version uint64 }
		err = r.in(&w)
		op.version = w.Version
	case op.kind == changing && !strings.HasPrefix(path, "/api/"):
		var w struct{ Data struct{ Version uint64 } }
		if err = r.in(&w); err == nil && w.Data.Version == 0 {
			err = fmt.Errorf("no version in the answer: %s", r.body)
		}
		op.version = w.Data.Version
	}
	return err
}

// mayRefuse reports whether the server may refuse the request with a status.
func (op *operation) mayRefuse(status int) bool {
	c := &op.change
	switch status {
	case http.StatusBadRequest: // a version that is no longer current
		return c.cas != nil && c.replace
	case http.StatusPreconditionFailed:
		return c.cas != nil && !c.replace
	case http.StatusNotFound: // no document, or the version no longer exists
		return c.exists || op.kind == rolling
	}
	return false
}

func (op *operation) takeSeen(path string, r answer) error {
	switch {
	case strings.HasSuffix(path, "/values"):
		d, err := valuesOf(r)
		op.seen, op.version = &d, d.version
		return err
	case strings.HasPrefix(path, "/api/"):
		var list struct{ Secrets []string }
		err := r.in(&list)
		// Only names; the audit log has the version.
		d := document{secrets: map[string]string{}}
		for _, name := range list.Secrets {
			d.secrets[name] = ""
		}
		op.seen = &d
		return err
	}
	d, ok, err := documentOf(r)
	if ok {
		op.seen, op.version = &d, d.version
	}
	return err
}

// describe lists names and the start of values, for messages.
func describe(content map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(content)) {
		value := content[name]
		fmt.Fprintf(&b, " %s=%s", name, strconv.Quote(value[:min(len(value), 30)]))
	}
	return b.String()
}
