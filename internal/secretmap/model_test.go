package secretmap

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/record/recordtest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// model is a simple model of a versioned map: each version has all its values.
type model struct {
	versions []*modelVersion // the version with number i+1
	oldest   uint64          // see headRecord.Oldest
	max      int
	required bool // check-and-set
	after    time.Duration
	settings int // number of changes to the settings

	secrets map[string][]*modelChange // all changes of each secret, oldest first
	tags    map[string]string         // what was visible with each tag
}

// modelChange is a change of one secret.
type modelChange struct {
	version uint64
	value   string
	removed bool
	// gone means that it must not be in the secret's history any more, and sure
	// that it must be. Neither is set if that depends on how far pruning has come.
	gone, sure bool
	past       bool // the last version that showed it no longer exists
}

type modelVersion struct {
	created                 time.Time
	author                  Author
	values                  map[string]modelValue
	added, changed, removed []string
	deleted                 time.Time // zero: not
	destroyed, pinned       bool
	from, merged            uint64
}

type modelValue struct {
	value   string
	written uint64
}

func newModel() *model {
	return &model{oldest: 1, max: DefaultMaxVersions, secrets: map[string][]*modelChange{}, tags: map[string]string{}}
}

func (m *model) clone() *model {
	c := *m
	c.versions = make([]*modelVersion, len(m.versions))
	for i, v := range m.versions {
		copied := *v
		c.versions[i] = &copied
	}
	c.secrets = map[string][]*modelChange{}
	for name, changes := range m.secrets {
		for _, ch := range changes {
			copied := *ch
			c.secrets[name] = append(c.secrets[name], &copied)
		}
	}
	return &c
}

func (m *model) current() uint64 { return uint64(len(m.versions)) }

// at returns an existing version, or nil.
func (m *model) at(n uint64) *modelVersion {
	if n == 0 || n > m.current() {
		return nil
	}
	if v := m.versions[n-1]; n >= m.oldest || v.pinned {
		return v
	}
	return nil
}

func (v *modelVersion) hidden(now time.Time) bool {
	return v.destroyed || !v.deleted.IsZero() && !now.Before(v.deleted)
}

// shown returns what is visible at now.
func (m *model) shown(now time.Time) map[string]modelValue {
	if v := m.at(m.current()); v != nil && !v.hidden(now) {
		return v.values
	}
	return map[string]modelValue{}
}

func plain(values map[string]modelValue) map[string]string {
	out := map[string]string{}
	for name, v := range values {
		out[name] = v.value
	}
	return out
}

// commit makes a version with these values.
func (m *model) commit(values map[string]string, a Author, now time.Time) *modelVersion {
	before := m.shown(now)
	n := m.current() + 1
	v := &modelVersion{created: now, author: a, values: map[string]modelValue{}}
	for name, changes := range m.secrets {
		// Also what a hidden version would show through is removed.
		there := slices.DeleteFunc(slices.Clone(changes), func(c *modelChange) bool { return c.gone })
		if _, stays := values[name]; stays || len(there) == 0 || there[len(there)-1].removed {
			continue
		}
		m.secrets[name] = append(changes, &modelChange{version: n, removed: true, sure: there[len(there)-1].sure})
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		was, had := before[name]
		if had && was.value == values[name] {
			v.values[name] = was
			continue
		}
		v.values[name] = modelValue{values[name], n}
		m.secrets[name] = append(m.secrets[name], &modelChange{version: n, value: values[name], sure: true})
		if had {
			v.changed = append(v.changed, name)
		} else {
			v.added = append(v.added, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, stays := values[name]; !stays {
			v.removed = append(v.removed, name)
		}
	}
	if m.after > 0 {
		v.deleted = now.Add(m.after)
	}
	m.versions = append(m.versions, v)
	m.oldest = max(m.oldest, n-min(n, uint64(m.max))+1)
	return v
}

// change does what Writer.Apply should do. unsure means that it may also be
// refused as a mismatch, because it isn't specified how long writes can be
// merged with a removed version.
func (m *model) change(ch Change, visible func(string) bool, a Author, now time.Time) (out *modelVersion, pinned uint64, unsure bool, err error) {
	sees := func(name string) bool { return visible == nil || visible(name) }
	if ch.Exists && m.current() == 0 && m.settings == 0 {
		return nil, 0, false, ErrVersionNotFound
	}
	before := m.shown(now)
	hidden := m.current() == 0 || m.at(m.current()).hidden(now)
	merged := uint64(0)
	switch {
	case ch.CAS == nil && m.required:
		return nil, 0, false, ErrCASRequired
	case ch.CAS == nil || *ch.CAS == m.current() && !(ch.Merge && hidden) || *ch.CAS == 0 && ch.Merge && hidden:
	case !ch.Merge || *ch.CAS > m.current():
		return nil, 0, false, ErrCASMismatch
	default:
		read := *ch.CAS
		merged = max(read, 1)
		was := map[string]modelValue{}
		if read > 0 {
			unsure = m.at(read) == nil
			if m.versions[read-1].destroyed {
				return nil, 0, false, ErrCASMismatch
			}
			was = m.versions[read-1].values
		}
		delta := Change{Set: map[string]string{}, Guard: ch.Guard, Always: ch.Always, Exists: ch.Exists}
		for _, name := range slices.Sorted(maps.Keys(both(plain(was), ch.Set))) {
			if !sees(name) {
				continue
			}
			old, had := was[name]
			to, stays := ch.Set[name]
			if had == stays && (!had || old.value == to) {
				continue // the write does not change it
			}
			is, has := before[name]
			asRead := has == had && (!has || is.value == old.value)
			asWritten := has == stays && (!has || is.value == to)
			if !asRead && !asWritten {
				return nil, 0, false, ErrCASMismatch
			}
			if stays {
				delta.Set[name] = to
			} else {
				delta.Remove = append(delta.Remove, name)
			}
		}
		ch = delta
	}
	if ch.Exists && hidden {
		return nil, 0, unsure, ErrVersionNotFound
	}
	next := plain(before)
	maps.Copy(next, ch.Set)
	for name := range before {
		if _, stays := ch.Set[name]; !stays && (ch.Replace && sees(name) || !ch.Replace && slices.Contains(ch.Remove, name)) {
			delete(next, name)
		}
	}
	if maps.Equal(next, plain(before)) && !ch.Always {
		return nil, 0, unsure, ErrUnchanged
	}
	last := m.current()
	out = m.commit(next, a, now)
	out.merged = merged
	accident := len(out.removed) > max(1, len(before)/2) || ch.CAS == nil && ch.Replace && len(out.removed)+len(out.changed) > 0
	if ch.Guard && !hidden && accident {
		pinned = last
		m.versions[last-1].pinned = true
	}
	return out, pinned, unsure, nil
}

func both(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// run is a series of random changes to some maps and their models.
type run struct {
	*testing.T
	*rand.Rand
	kit    *recordtest.Kit
	db     *record.DB
	maps   *Maps
	models map[ID]*model
	author Author
	calm   bool   // no version is deleted or destroyed
	what   string // the current step
}

// shared is a store that other processes may change too.
type shared struct{ store.Store }

func (shared) Exclusive() bool { return false }

// TestModel changes two maps and their models at random, and compares
// everything readable after each step.
func TestModel(t *testing.T) {
	seeds := uint64(16)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			kit := recordtest.New(t)
			r := &run{T: t, Rand: rand.New(rand.NewPCG(seed, 1)), kit: kit, db: kit.DB, models: map[ID]*model{1: newModel(), 2: newModel()}}
			if seed%4 == 3 {
				r.db = record.New(shared{kit.Store}, kit.Keys(), func() time.Time { return kit.Now })
			}
			r.restart()
			r.calm = seed%4 == 1
			for step := range 300 {
				org := ID(1 + r.IntN(2))
				r.author = Author{User: ID(1 + r.IntN(3)), Token: ID(r.IntN(2)), Protocol: Protocol([]string{"influxdb", "vault"}[r.IntN(2)])}
				r.step(org)
				for _, m := range r.models {
					m.age()
				}
				r.what = fmt.Sprintf("step %d, map %s, %s", step, org, r.what)
				for _, org := range slices.Sorted(maps.Keys(r.models)) { // each comparison draws
					r.compare(org)
				}
				if step%50 == 49 {
					r.check()
				}
			}
		})
	}
}

func (r *run) restart() {
	m, err := New(Options{CacheBytes: 2000})
	if err != nil {
		r.Fatal(err)
	}
	r.maps = m
	r.db.ClearCache()
}

func (r *run) name() string { return fmt.Sprint("n", r.IntN(8)) }

func (r *run) visible() func(string) bool {
	if r.IntN(4) > 0 {
		return nil
	}
	seen := map[string]bool{}
	for range r.IntN(6) {
		seen[r.name()] = true
	}
	return func(name string) bool { return seen[name] }
}

func (r *run) values(n int) map[string]string {
	out := map[string]string{}
	for range n {
		out[r.name()] = fmt.Sprint(r.IntN(4))
	}
	return out
}

var errGivenUp = errors.New("given up")

// update runs fn in a transaction that sometimes fails at the end, after which
// nothing may have changed. ok means that it succeeded.
func (r *run) update(org ID, visible func(string) bool, fn func(*Writer) error) (ok bool, err error) {
	giveUp := r.IntN(8) == 0
	err = r.db.Update(r.Context(), func(tx *record.Writer) error {
		w, err := r.maps.Write(tx, org, r.author, visible)
		if err != nil {
			return err
		}
		if err := fn(w); err != nil {
			return err
		}
		if giveUp {
			return errGivenUp
		}
		return nil
	})
	if errors.Is(err, errGivenUp) {
		return false, nil
	}
	return err == nil, err
}

// expect fails unless got is want, a sentinel or nil.
func (r *run) expect(got, want error) {
	r.Helper()
	if !errors.Is(got, want) {
		r.Fatalf("%s: got error %v, want %v", r.what, got, want)
	}
}

func (r *run) step(org ID) {
	m := r.models[org]
	version := func() uint64 { return r.Uint64N(m.current() + 2) }
	what := r.IntN(20)
	if r.calm && (what == 8 || what == 9 || what == 10) {
		what = 0
	}
	switch what {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		r.change(org)
	case 8:
		n := version()
		if r.IntN(2) == 0 {
			r.what = "delete the current version"
			n = m.current()
		} else {
			r.what = fmt.Sprint("delete version ", n)
		}
		ok, err := r.update(org, nil, func(w *Writer) error {
			if n == m.current() {
				return w.DeleteVersions()
			}
			return w.DeleteVersions(n)
		})
		r.versionsChanged(m, ok, err, func() {
			if v := m.at(n); v != nil && !v.hidden(r.kit.Now) {
				v.deleted = r.kit.Now
			}
		})
	case 9:
		n := version()
		r.what = fmt.Sprint("undelete version ", n)
		ok, err := r.update(org, nil, func(w *Writer) error { return w.UndeleteVersions(n) })
		r.versionsChanged(m, ok, err, func() {
			if v := m.at(n); v != nil && !v.destroyed {
				v.deleted = time.Time{}
				if m.after > 0 {
					v.deleted = r.kit.Now.Add(m.after)
				}
			}
		})
	case 10:
		n := version()
		r.what = fmt.Sprint("destroy version ", n)
		ok, err := r.update(org, nil, func(w *Writer) error { return w.DestroyVersions(n) })
		r.versionsChanged(m, ok, err, func() {
			if v := m.at(n); v != nil {
				v.destroyed = true
			}
			m.destroySecrets(n)
		})
	case 11, 12:
		r.rollback(org, version())
	case 13:
		n := version()
		for i, v := range m.versions {
			if v.pinned {
				n = uint64(i + 1)
			}
		}
		r.what = fmt.Sprint("unpin version ", n)
		ok, err := r.update(org, nil, func(w *Writer) error { return w.Unpin(n) })
		if v := m.at(n); v == nil || !v.pinned {
			r.expect(err, ErrVersionNotFound)
		} else if r.expect(err, nil); ok {
			v.pinned = false
		}
	case 14:
		r.settings(org)
	case 15:
		r.what = "sweep"
		ok, err := r.update(org, nil, (*Writer).Sweep)
		if m.current() == 0 {
			r.expect(err, ErrUnchanged)
		} else if r.expect(err, nil); ok {
			r.swept(org)
		}
	case 16:
		if r.IntN(4) > 0 {
			return
		}
		r.what = "delete the map"
		r.expect(r.db.Update(r.Context(), func(tx *record.Writer) error { return r.maps.Delete(tx, org) }), nil)
		fresh := newModel()
		fresh.tags = m.tags
		r.models[org] = fresh
	case 17:
		r.what = "restart"
		r.restart()
	default:
		r.what = "wait"
		r.kit.Now = r.kit.Now.Add(time.Duration(r.IntN(90)) * time.Second)
	}
}

// versionsChanged applies a change of single versions to the model.
func (r *run) versionsChanged(m *model, ok bool, err error, follow func()) {
	r.Helper()
	if m.current() == 0 {
		r.expect(err, ErrUnchanged)
		return
	}
	if r.expect(err, nil); ok {
		follow()
	}
}

func (r *run) change(org ID) {
	m := r.models[org]
	ch := Change{Set: r.values(r.IntN(4)), Always: r.IntN(4) == 0, Exists: r.IntN(8) == 0}
	switch r.IntN(4) {
	case 0:
		ch.Set, ch.Remove = nil, []string{r.name(), r.name()}
	case 1:
		ch.Replace, ch.Guard = true, r.IntN(2) == 0
	case 2:
		// As a client that reads a version, changes some of it and writes
		// everything back.
		ch.Replace, ch.Merge, ch.Guard = true, r.IntN(4) > 0, r.IntN(2) == 0
		read := max(1, m.current()) - min(r.Uint64N(6), m.current())
		if r.IntN(6) == 0 {
			read = r.Uint64N(m.current() + 2)
		}
		ch.CAS = &read
		if read > 0 && read <= m.current() {
			edited := plain(m.versions[read-1].values)
			maps.Copy(edited, ch.Set)
			if r.IntN(2) == 0 {
				delete(edited, r.name())
			}
			ch.Set = edited
		}
	}
	if ch.CAS == nil && r.IntN(4) == 0 {
		n := m.current()
		ch.CAS = &n
	}
	visible := r.visible()
	if visible != nil { // a limited caller writes only the names it sees
		maps.DeleteFunc(ch.Set, func(name, _ string) bool { return !visible(name) })
		ch.Remove = slices.DeleteFunc(ch.Remove, func(name string) bool { return !visible(name) })
	}
	cas := "none"
	if ch.CAS != nil {
		cas = fmt.Sprint(*ch.CAS)
	}
	r.what = fmt.Sprintf("change %+v with CAS %s, limited: %v", ch, cas, visible != nil)

	var out Result
	ok, err := r.update(org, visible, func(w *Writer) (err error) {
		out, err = w.Apply(ch)
		return err
	})
	next := m.clone()
	v, pinned, unsure, want := next.change(ch, visible, r.author, r.kit.Now)
	if unsure && errors.Is(err, ErrCASMismatch) {
		want, ok = ErrCASMismatch, false
	}
	r.expect(err, want)
	if err != nil && !errors.Is(err, ErrUnchanged) {
		return
	}
	if err != nil {
		v = &modelVersion{}
	}
	if out.Changed != (err == nil) || out.Version.Number != next.current() || out.Pinned != pinned ||
		!slices.Equal(out.Names, sorted(v.added, v.changed)) || !slices.Equal(out.Removed, v.removed) {
		r.Fatalf("%s: got %+v, want %+v, pinned %d", r.what, out, v, pinned)
	}
	if ok {
		r.models[org] = next
		r.seen(org, out.Tag)
	}
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}

func (r *run) rollback(org ID, n uint64) {
	m := r.models[org]
	r.what = fmt.Sprint("roll back to version ", n)
	ok, err := r.update(org, nil, func(w *Writer) error {
		_, err := w.Rollback(n)
		return err
	})
	v := m.at(n)
	if v == nil || v.destroyed {
		r.expect(err, ErrVersionNotFound)
	} else if r.expect(err, nil); ok {
		m.commit(plain(v.values), r.author, r.kit.Now).from = n
	}
}

func (r *run) settings(org ID) {
	m := r.models[org]
	var u SettingsUpdate
	next := *m
	switch r.IntN(3) {
	case 0:
		next.max = 1 + r.IntN(6)
		u.MaxVersions = &next.max
	case 1:
		next.required = r.IntN(4) == 0
		u.CASRequired = &next.required
	case 2:
		if !r.calm {
			next.after = time.Duration(r.IntN(3)) * time.Minute
		}
		u.DeleteVersionAfter = &next.after
	}
	r.what = fmt.Sprintf("settings: max %d, check-and-set %v, delete after %s", next.max, next.required, next.after)
	ok, err := r.update(org, nil, func(w *Writer) error { return w.UpdateSettings(u) })
	r.expect(err, nil)
	if next.settings++; ok {
		*m = next
	}
}

// seen checks that the same content was always visible with the tag.
func (r *run) seen(org ID, tag string) {
	m := r.models[org]
	shown := fmt.Sprint(plain(m.shown(r.kit.Now)))
	if was, ok := m.tags[tag]; ok && was != shown {
		r.Fatalf("%s: with tag %s %s was visible, and now %s is", r.what, tag, was, shown)
	}
	m.tags[tag] = shown
}

// compare reads everything that a map shows.
func (r *run) compare(org ID) {
	r.Helper()
	model, visible, only := r.models[org], r.visible(), []string(nil)
	if r.IntN(3) == 0 {
		only = []string{r.name(), r.name(), r.name()}
	}
	err := r.db.View(r.Context(), func(tx *record.Reader) error {
		m, err := r.maps.Read(tx, org)
		if err != nil {
			return err
		}
		now := model.shown(tx.Now)
		names, err := m.Names()
		if err != nil || !slices.Equal(names, slices.Sorted(maps.Keys(now))) || m.Current() != model.current() {
			return fmt.Errorf("version %d has names %v, %w, want version %d with %v", m.Current(), names, err, model.current(), now)
		}
		for i := range 8 {
			name := fmt.Sprint("n", i)
			want, has := now[name]
			if value, ok, err := m.Value(name); value != want.value || ok != has || err != nil {
				return fmt.Errorf("%s is %q, %v, %w, want %q, %v", name, value, ok, err, want.value, has)
			}
		}
		r.seen(org, m.Tag())
		if err := r.compareSecrets(&m, model, now); err != nil {
			return err
		}
		history, err := m.History(visible)
		if err != nil {
			return err
		}
		for n := model.current() + 1; n > 0; n-- {
			v := model.at(n)
			if m.Kept(n) != (v != nil) {
				return fmt.Errorf("version %d exists: %v", n, m.Kept(n))
			}
			if v == nil {
				continue
			}
			if err := compareVersion(&m, v, n, visible, only); err != nil {
				return fmt.Errorf("version %d: %w", n, err)
			}
			if len(history) == 0 {
				return fmt.Errorf("version %d is not in the history", n)
			}
			if err := compareHistory(history[0], v, n, visible); err != nil {
				return fmt.Errorf("version %d in the history: %w", n, err)
			}
			history = history[1:]
		}
		if len(history) > 0 {
			return fmt.Errorf("the history also has %+v", history)
		}
		return nil
	})
	if err != nil {
		r.Fatalf("%s: map %s: %v", r.what, org, err)
	}
}

func compareVersion(m *Map, v *modelVersion, n uint64, visible func(string) bool, only []string) error {
	d, names, err := m.Document(n, visible, only)
	if err != nil {
		return err
	}
	var want []Secret
	for _, name := range slices.Sorted(maps.Keys(v.values)) {
		chosen := (visible == nil || visible(name)) && (only == nil || slices.Contains(only, name))
		if chosen && !v.hidden(m.r.Now) {
			want = append(want, Secret{name, v.values[name].value, v.values[name].written})
		}
	}
	if !slices.Equal(d.Secrets, want) || !slices.Equal(names, namesOf(want)) {
		return fmt.Errorf("it shows %v, %v, want %v", d.Secrets, names, want)
	}
	i := d.Version
	if i.Hidden != v.hidden(m.r.Now) || i.Destroyed != v.destroyed || i.Pinned != v.pinned || !i.Deleted.Equal(v.deleted) ||
		i.From != v.from || i.Merged != v.merged || i.Count != len(v.values) || (Author{User: i.User, Token: i.Token, Protocol: i.Protocol}) != v.author {
		return fmt.Errorf("got %+v, want %+v", i, v)
	}
	return nil
}

func compareHistory(got VersionInfo, v *modelVersion, n uint64, visible func(string) bool) error {
	if got.Number != n {
		return fmt.Errorf("version %d exists", got.Number)
	}
	for _, list := range []struct{ got, all []string }{{got.Added, v.added}, {got.Changed, v.changed}, {got.Removed, v.removed}} {
		want := slices.DeleteFunc(slices.Clone(list.all), func(name string) bool { return visible != nil && !visible(name) })
		if !slices.Equal(list.got, want) {
			return fmt.Errorf("got %+v, want %+v", got, v)
		}
	}
	return nil
}

// check looks for damage; there must be none.
func (r *run) check() {
	r.Helper()
	if err := check(r.Context(), r.db, func(what string, err error) { r.Errorf("%s: %s: %v", r.what, what, err) }); err != nil {
		r.Fatal(err)
	}
}

// swept checks which secret records remain: those that a version shows, those of a
// secret's own history, and tombstones that hide an older record.
func (r *run) swept(org ID) {
	r.Helper()
	wanted := map[string]bool{}
	model := r.models[org]
	for i := range model.versions {
		v := model.at(uint64(i + 1))
		if v == nil || v.destroyed {
			continue
		}
		for name, value := range v.values {
			wanted[fmt.Sprint(name, " of version ", value.written)] = true
		}
	}
	err := r.db.View(r.Context(), func(tx *record.Reader) error {
		m, err := r.maps.Read(tx, org)
		if err != nil {
			return err
		}
		var gone string // the name whose newer record is a tombstone
		return tx.ScanPrefix(record.Key(record.TableSecret, m.head.Map), func(k, sealed []byte) (bool, error) {
			_, version, _ := record.ParseSecretKey(k)
			s, err := m.openSecret(k, sealed)
			if err != nil {
				return false, err
			}
			name := s.name
			if gone != "" && gone != name {
				return false, fmt.Errorf("%s has a tombstone and no other record", gone)
			}
			if gone = ""; !s.shown() {
				gone = name
				return true, nil
			}
			what := fmt.Sprint(name, " of version ", version)
			if !wanted[what] && !model.mayHave(name, version) {
				return false, fmt.Errorf("the record of %s is left", what)
			}
			delete(wanted, what)
			return true, nil
		})
	})
	if err != nil || len(wanted) > 0 {
		r.Fatalf("%s: %v; missing: %v", r.what, err, wanted)
	}
}
