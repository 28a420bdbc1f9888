package vaultkv_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// model is an organization's expected secrets: every version ever made,
// complete.
type model struct {
	versions []modelVersion // versions[0] is unused
	oldest   int            // removed versions don't come back
	max      int
}

type modelVersion struct {
	data               map[string]string
	deleted, destroyed bool
	pinned             bool
}

func newModel() *model { return &model{versions: make([]modelVersion, 1), oldest: 1} }

func (m *model) current() int { return len(m.versions) - 1 }

func (m *model) kept(n int) bool {
	return n > 0 && n <= m.current() && (n >= m.oldest || m.versions[n].pinned)
}

func (m *model) hidden(n int) bool { return m.versions[n].deleted || m.versions[n].destroyed }

// visible returns what is visible now.
func (m *model) visible() map[string]string {
	if n := m.current(); n > 0 && !m.hidden(n) {
		return m.versions[n].data
	}
	return map[string]string{}
}

// write creates a version and removes the oldest.
func (m *model) write(data map[string]string) {
	m.versions = append(m.versions, modelVersion{data: maps.Clone(data)})
	limit := m.max
	if limit == 0 {
		limit = keep.DefaultMaxVersions
	}
	m.oldest = max(m.oldest, m.current()-limit+1)
}

func (m *model) pick(r *rand.Rand) int {
	return r.IntN(m.current()+2) + r.IntN(2)*max(0, m.current()-4)
}

// machine drives a server and its model in parallel.
type machine struct {
	t *testing.T
	*server
	*model
	r  *rand.Rand
	op keep.Caller // through InfluxDB's protocol
}

// forSeeds runs a test with many seeds; a failure names its seed.
func forSeeds(t *testing.T, n int, test func(*testing.T, *rand.Rand)) {
	if testing.Short() {
		n = max(1, n/10)
	}
	for seed := range n {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { test(t, rand.New(rand.NewPCG(uint64(seed), 7))) })
	}
}

func someNames() []string { return []string{"a", "b", "c", "d/e", "f g"} }

func (m *machine) someData() map[string]string {
	data := map[string]string{}
	for _, name := range someNames() {
		if m.r.IntN(2) == 0 {
			data[name] = fmt.Sprint(m.r.IntN(3))
		}
	}
	return data
}

// step performs a random operation through one of the protocols and checks its
// outcome.
func (m *machine) step() (what string) {
	defer func() {
		if m.t.Failed() {
			m.t.Logf("at: %s", what)
		}
	}()
	ctx := m.t.Context()
	current, before := m.current(), m.visible()
	switch m.r.IntN(13) {
	case 0, 1: // InfluxDB's PATCH
		data := m.someData()
		what = fmt.Sprintf("influxdb: set %v", data)
		after := maps.Clone(before)
		maps.Copy(after, data)
		m.influxDB(keep.Change{Set: data}, after)
	case 2: // InfluxDB's DELETE
		names := someNames()[:1+m.r.IntN(2)]
		what = fmt.Sprintf("influxdb: remove %q", names)
		after := maps.Clone(before)
		for _, name := range names {
			delete(after, name)
		}
		m.influxDB(keep.Change{Remove: names}, after)
	case 3, 4: // KV write
		data := m.someData()
		cas := m.r.IntN(3)*100 + current // right, or ahead; or none
		if m.r.IntN(2) == 0 {
			cas = -1
		}
		what = fmt.Sprintf("kv: write %v, cas %d", data, cas)
		a := m.server.op(m.t, "PUT", m.at("data"), body(m.t, data, cas))
		if cas >= 0 && cas != current {
			a.want(m.t, 400)
			break
		}
		a.want(m.t, 200)
		m.write(data)
	case 5: // KV patch
		patch, after := map[string]any{}, maps.Clone(before)
		for _, name := range someNames() {
			switch m.r.IntN(4) {
			case 0:
				patch[name] = nil
				delete(after, name)
			case 1:
				patch[name] = "p"
				after[name] = "p"
			}
		}
		what = fmt.Sprintf("kv: patch %v", patch)
		a := m.server.op(m.t, "PATCH", m.at("data"), toJSON(m.t, map[string]any{"data": patch, "options": map[string]int{"cas": current}}), "Content-Type", mergePatch)
		if current == 0 || m.hidden(current) {
			a.want(m.t, 404)
			break
		}
		a.want(m.t, 200)
		m.write(after)
	case 6: // KV delete of the newest
		what = "kv: delete"
		m.server.op(m.t, "DELETE", m.at("data"), "").want(m.t, 204)
		if current > 0 {
			m.versions[current].deleted = true
		}
	case 7:
		n := m.pick(m.r)
		what = fmt.Sprintf("kv: delete %d", n)
		m.server.op(m.t, "POST", m.at("delete"), fmt.Sprintf(`{"versions":[%d]}`, n)).want(m.t, 204)
		if m.kept(n) {
			m.versions[n].deleted = true
		}
	case 8, 9:
		n := m.pick(m.r)
		if m.r.IntN(2) == 0 {
			n = current
		}
		what = fmt.Sprintf("kv: undelete %d", n)
		m.server.op(m.t, "POST", m.at("undelete"), fmt.Sprintf(`{"versions":[%d]}`, n)).want(m.t, 204)
		if m.kept(n) {
			m.versions[n].deleted = false
		}
	case 10:
		n := m.pick(m.r)
		what = fmt.Sprintf("kv: destroy %d", n)
		m.server.op(m.t, "PUT", m.at("destroy"), fmt.Sprintf(`{"versions":[%d]}`, n)).want(m.t, 204)
		if m.kept(n) {
			m.versions[n].destroyed = true
		}
	case 11: // influxd, with something it may have read
		read := max(0, current-m.r.IntN(4))
		if current == 0 || m.hidden(current) {
			read = 0
		}
		m.influxd(&what, read)
	case 12:
		n := m.pick(m.r)
		what = fmt.Sprintf("roll back to %d", n)
		w, err := m.Rollback(ctx, m.op, m.Org, uint64(n))
		if !m.kept(n) || m.versions[n].destroyed {
			if !errors.Is(err, keep.ErrVersionNotFound) {
				m.t.Fatalf("rolling back to version %d: %v", n, err)
			}
			break
		}
		if err != nil {
			m.t.Fatal(err)
		}
		m.write(m.versions[n].data)
		if w.Version.Number != uint64(m.current()) || w.Version.From != uint64(n) {
			m.t.Fatalf("created version %d from %d, want %d from %d", w.Version.Number, w.Version.From, m.current(), n)
		}
	}
	if rare := m.r.IntN(60); rare == 0 {
		what += ", and delete all"
		m.server.op(m.t, "DELETE", m.at("metadata"), "").want(m.t, 204)
		*m.model = *newModel()
	} else if rare < 3 {
		m.max = 2 + m.r.IntN(6)
		what += fmt.Sprintf(", and keep %d", m.max)
		m.server.op(m.t, "POST", m.at("metadata"), fmt.Sprintf(`{"max_versions":%d}`, m.max)).want(m.t, 204)
	}
	return what
}

// influxDB makes a change as InfluxDB's protocol does: without check-and-set,
// and without a version if nothing changes.
func (m *machine) influxDB(ch keep.Change, after map[string]string) {
	m.t.Helper()
	before := m.visible()
	w, err := m.Change(m.t.Context(), m.op, m.Org, ch)
	if err != nil {
		m.t.Fatal(err)
	}
	if w.Changed != !maps.Equal(before, after) {
		m.t.Fatalf("changed is %v from %v to %v", w.Changed, before, after)
	}
	if w.Changed {
		m.write(after)
	}
}

// influxd writes a document that differs in one name from the version it read.
func (m *machine) influxd(what *string, read int) {
	m.t.Helper()
	base := map[string]string{}
	if read > 0 {
		if !m.kept(read) || m.hidden(read) {
			return // it could not have read this
		}
		base = m.versions[read].data
	}
	doc := maps.Clone(base)
	name := someNames()[m.r.IntN(len(someNames()))]
	if _, ok := doc[name]; ok && m.r.IntN(2) == 0 {
		delete(doc, name)
	} else {
		doc[name] = fmt.Sprint("i", m.r.IntN(100))
	}
	*what = fmt.Sprintf("influxd: read %d, write %v", read, doc)
	before := m.visible()
	a := m.writeAs(m.t, m.OperatorToken, doc, read)
	if read != m.current() && conflict(name, base, doc, before) {
		a.wantErrors(m.t, 400, casMismatch)
		return
	}
	a.want(m.t, 200)
	after := maps.Clone(doc)
	if read != m.current() {
		after = maps.Clone(before)
		if value, ok := doc[name]; ok {
			after[name] = value
		} else {
			delete(after, name)
		}
	}
	for _, v := range m.history(m.t) {
		if v.Pinned {
			m.versions[v.Number].pinned = true
		}
	}
	m.write(after)
}

// conflict reports whether a name's current value is neither the one read nor
// the one written.
func conflict(name string, read, write, now map[string]string) bool {
	same := func(a, b map[string]string) bool {
		x, inA := a[name]
		y, inB := b[name]
		return inA == inB && x == y
	}
	return !same(now, read) && !same(now, write)
}

// check compares everything visible through both protocols.
func (m *machine) check() {
	m.t.Helper()
	ctx, want := m.t.Context(), m.visible()
	names, err := m.SecretNames(ctx, m.op, m.Org)
	if err != nil {
		m.t.Fatal(err)
	}
	if !slices.Equal(names, slices.Sorted(maps.Keys(want))) {
		m.t.Fatalf("InfluxDB's view has the names %q, want %v", names, want)
	}
	if got := m.MustValues(m.t); !maps.Equal(got, want) {
		m.t.Fatalf("the values are %v, want %v", got, want)
	}
	for _, target := range []string{m.at("data"), m.server.influxd("data")} {
		a := m.server.op(m.t, "GET", target, "")
		if m.current() == 0 || m.hidden(m.current()) {
			a.want(m.t, 404)
			continue
		}
		if got, n := a.document(m.t); !maps.Equal(got, want) || n != uint64(m.current()) {
			m.t.Fatalf("%s is version %d with %v, want %d with %v", target, n, got, m.current(), want)
		}
	}
	for n := 1; n <= m.current()+1; n++ {
		a := m.server.op(m.t, "GET", fmt.Sprintf("%s?version=%d", m.at("data"), n), "")
		switch {
		case !m.kept(n):
			a.wantErrors(m.t, 404)
		case m.hidden(n):
			a.want(m.t, 404)
			if a.get(m.t, "data", "metadata", "destroyed") != m.versions[n].destroyed {
				m.t.Fatalf("version %d: %s", n, a.text)
			}
		default:
			if got, _ := a.want(m.t, 200).document(m.t); !maps.Equal(got, m.versions[n].data) {
				m.t.Fatalf("version %d is %v, want %v", n, got, m.versions[n].data)
			}
		}
	}
}

// TestViewsAgree checks that both protocols show the same at any time, and
// that a version never changes.
func TestViewsAgree(t *testing.T) {
	forSeeds(t, 25, func(t *testing.T, r *rand.Rand) {
		s := newServer(t, nil)
		m := &machine{t: t, server: s, model: newModel(), r: r, op: s.Operator(t, keep.InfluxDB)}
		var done []string
		defer func() {
			if t.Failed() {
				for _, what := range done {
					t.Log(what)
				}
			}
		}()
		for range 60 {
			done = append(done, m.step())
			m.check()
		}
	})
}

// TestRollbackShowsTheVersion checks that, after any history, rolling back to
// a version shows exactly that version and leaves all others unchanged.
func TestRollbackShowsTheVersion(t *testing.T) {
	forSeeds(t, 15, func(t *testing.T, r *rand.Rand) {
		s := newServer(t, nil)
		m := &machine{t: t, server: s, model: newModel(), r: r, op: s.Operator(t, keep.InfluxDB)}
		for range 25 {
			m.step()
		}
		for n := m.current(); n > 0; n-- {
			if !m.kept(n) || m.versions[n].destroyed {
				continue
			}
			want := maps.Clone(m.versions[n].data)
			if _, err := s.Rollback(t.Context(), m.op, s.Org, uint64(n)); err != nil {
				t.Fatal(err)
			}
			m.write(want)
			wantValues(t, s, want)
			m.check()
		}
	})
}

// edit is one writer's change: what it sets and removes.
type edit struct {
	set    map[string]string
	remove []string
}

func (e edit) apply(to map[string]string) map[string]string {
	out := maps.Clone(to)
	maps.Copy(out, e.set)
	for _, name := range e.remove {
		delete(out, name)
	}
	return out
}

// TestMergesEqualSomeOrder interleaves reads and writes of several writers.
// The result must equal the accepted changes applied one by one in some order,
// and a change must be refused exactly if it conflicts.
func TestMergesEqualSomeOrder(t *testing.T) {
	s := newServer(t, nil)
	forSeeds(t, 100, func(t *testing.T, r *rand.Rand) {
		s.op(t, "DELETE", s.at("metadata"), "").want(t, 204)
		start := map[string]string{}
		for _, name := range someNames() {
			if r.IntN(3) > 0 {
				start[name] = "start"
			}
		}
		s.op(t, "PUT", s.influxd("data"), body(t, start, 0)).want(t, 200)

		type writer struct {
			edit
			document map[string]string
			read     int
		}
		waiting := make([]*writer, 2+r.IntN(4))
		var reading []*writer
		var taken []edit
		for i := range waiting {
			w := &writer{edit: edit{set: map[string]string{}}}
			for _, name := range someNames() {
				switch r.IntN(6) {
				case 0:
					w.set[name] = fmt.Sprint(i)
				case 1:
					w.set[name] = "same"
				case 2:
					w.remove = append(w.remove, name)
				}
			}
			waiting[i] = w
		}
		for len(waiting)+len(reading) > 0 {
			if len(waiting) > 0 && (len(reading) == 0 || r.IntN(2) == 0) {
				w := waiting[0]
				waiting = waiting[1:]
				w.document, w.read = s.readAs(t, s.OperatorToken)
				// Only differences from what was read count as a change.
				real := edit{set: map[string]string{}}
				for name, value := range w.set {
					if w.document[name] != value {
						real.set[name] = value
					}
				}
				for _, name := range w.remove {
					if _, ok := w.document[name]; ok {
						real.remove = append(real.remove, name)
					}
				}
				w.edit = real
				reading = append(reading, w)
				continue
			}
			at := r.IntN(len(reading))
			w := reading[at]
			reading = slices.Delete(reading, at, at+1)
			now, want := s.MustValues(t), w.apply(w.document)
			refused := false
			for _, name := range append(slices.Collect(maps.Keys(w.set)), w.remove...) {
				refused = refused || conflict(name, w.document, want, now)
			}
			a := s.writeAs(t, s.OperatorToken, want, w.read)
			if refused {
				a.wantErrors(t, 400, casMismatch)
				continue
			}
			a.want(t, 200)
			taken = append(taken, w.edit)
		}
		got := s.MustValues(t)
		if !someOrder(start, taken, got) {
			t.Errorf("from %v the changes %+v made %v", start, taken, got)
		}
	})
}

// someOrder reports whether the edits, in some order, turn from into want.
func someOrder(from map[string]string, edits []edit, want map[string]string) bool {
	if len(edits) == 0 {
		return maps.Equal(from, want)
	}
	for i, e := range edits {
		if someOrder(e.apply(from), slices.Concat(edits[:i], edits[i+1:]), want) {
			return true
		}
	}
	return false
}
