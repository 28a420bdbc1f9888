package keep_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// versionedMap is the model's state of one organization's secrets. It is immutable:
// each operation returns a new one.
type versionedMap struct {
	versions []mapVersion // versions[0] is number 1
	oldest   int          // number of the oldest retained version
}

type mapVersion struct {
	data    map[string]string
	deleted bool
}

func (m *versionedMap) current() int { return len(m.versions) }

// visible returns the current secrets.
func (m *versionedMap) visible() map[string]string {
	if n := m.current(); n > 0 && !m.versions[n-1].deleted {
		return m.versions[n-1].data
	}
	return nil
}

func (m *versionedMap) hidden() bool { n := m.current(); return n == 0 || m.versions[n-1].deleted }

// with returns the map after a new version.
func (m *versionedMap) with(data map[string]string) *versionedMap {
	next := &versionedMap{versions: append(slices.Clip(m.versions), mapVersion{data: data})}
	next.oldest = max(m.oldest, next.current()-keep.DefaultMaxVersions+1, 1)
	return next
}

func (m *versionedMap) mark(n int, deleted bool) *versionedMap {
	if n < max(m.oldest, 1) || n > m.current() {
		return m
	}
	next := &versionedMap{slices.Clone(m.versions), m.oldest}
	next.versions[n-1].deleted = deleted
	return next
}

func (m *versionedMap) write(ch keep.Change) (*versionedMap, string) {
	if ch.Exists && m.hidden() {
		return m, "no version"
	}
	before := m.visible()
	set, removed, replace := ch.Set, ch.Remove, ch.Replace
	if ch.CAS != nil && (int(*ch.CAS) != m.current() || ch.Merge && m.hidden()) {
		if !ch.Merge || int(*ch.CAS) > m.current() {
			return m, "mismatch"
		}
		if *ch.CAS > 0 || !m.hidden() {
			var ok bool
			if set, removed, ok = m.since(int(*ch.CAS), ch.Set); !ok {
				return m, "mismatch"
			}
			replace = false
		}
	}
	after := maps.Clone(before)
	if replace || after == nil {
		after = map[string]string{}
	}
	maps.Copy(after, set)
	for _, name := range removed {
		delete(after, name)
	}
	next := m
	if ch.Always || !maps.Equal(before, after) {
		next = m.with(after)
	}
	return next, fmt.Sprint("written ", next.current())
}

// since returns the changes of a stale write, unless they conflict with later changes.
func (m *versionedMap) since(read int, to map[string]string) (set map[string]string, removed []string, ok bool) {
	before, now := map[string]string{}, m.visible()
	if read > 0 {
		before = m.versions[read-1].data
	}
	at := func(data map[string]string, name string) string {
		if v, ok := data[name]; ok {
			return "=" + v
		}
		return ""
	}
	set = map[string]string{}
	for _, name := range mapNames {
		was, is, want := at(before, name), at(now, name), at(to, name)
		switch {
		case was == want:
			continue
		case is != was && is != want:
			return nil, nil, false
		case want == "":
			removed = append(removed, name)
		default:
			set[name] = to[name]
		}
	}
	return set, removed, true
}

var mapNames = []string{"a", "b", "c"}

// mapOp is a call on an organization's secrets.
type mapOp struct {
	in      int // index of the organization
	org     keep.ID
	kind    mapKind
	change  keep.Change // of writes
	version int         // of reads, deletions and undeletions; 0 is the current one
	who     keep.Caller
}

type mapKind string

const (
	mapWrite    mapKind = "write"
	mapNamesOf  mapKind = "names"
	mapDocument mapKind = "document"
	mapOne      mapKind = "one value"
	mapDelete   mapKind = "delete"
	mapUndelete mapKind = "undelete"
	mapClear    mapKind = "delete all"
)

func (op *mapOp) group() int { return op.in }

func (op *mapOp) String() string {
	return fmt.Sprintf("%s %d %+v of %s", op.kind, op.version, op.change, op.org)
}

func mapLaw() law {
	return law{
		start: func() any { return &versionedMap{} },
		equal: func(a, b any) bool { return a == b || sprint(*a.(*versionedMap)) == sprint(*b.(*versionedMap)) },
		step: func(state any, o operation) (any, any) {
			m, op := state.(*versionedMap), o.(*mapOp)
			n := op.version
			if n == 0 {
				n = m.current()
			}
			switch op.kind {
			case mapWrite:
				return m.write(op.change)
			case mapNamesOf:
				return m, sprint(slices.Sorted(maps.Keys(m.visible())))
			case mapOne:
				return m, m.visible()["a"]
			case mapDelete:
				return m.mark(n, true), "done"
			case mapUndelete:
				return m.mark(n, false), "done"
			case mapClear:
				return &versionedMap{}, "done"
			default:
				if n < max(m.oldest, 1) || n > m.current() {
					return m, "no version"
				}
				if v := m.versions[n-1]; !v.deleted {
					return m, fmt.Sprint(n, v.data)
				}
				return m, fmt.Sprint(n, " hidden")
			}
		},
	}
}

func (op *mapOp) run(ctx context.Context, k *keeptest.Kit) (any, error) {
	switch op.kind {
	case mapWrite:
		w, err := k.Change(ctx, op.who, op.org, op.change)
		switch {
		case errors.Is(err, keep.ErrCASMismatch):
			return "mismatch", nil
		case errors.Is(err, keep.ErrVersionNotFound):
			return "no version", nil
		}
		return fmt.Sprint("written ", w.Version.Number), err
	case mapNamesOf:
		names, err := k.SecretNames(ctx, op.who, op.org)
		return sprint(names), err
	case mapOne:
		d, err := k.Values(ctx, op.who, op.org, []string{"a"}, "")
		return keeptest.Map(d.Secrets)["a"], err
	case mapDelete:
		return "done", k.DeleteVersions(ctx, op.who, op.org, op.versions()...)
	case mapUndelete:
		return "done", k.UndeleteVersions(ctx, op.who, op.org, op.versions()...)
	case mapClear:
		return "done", k.DeleteAll(ctx, op.who, op.org)
	default:
		d, err := k.Document(ctx, op.who, op.org, uint64(op.version))
		switch {
		case errors.Is(err, keep.ErrVersionNotFound):
			return "no version", nil
		case err == nil && d.Version.Hidden:
			return fmt.Sprint(d.Version.Number, " hidden"), nil
		}
		return fmt.Sprint(d.Version.Number, keeptest.Map(d.Secrets)), err
	}
}

func (op *mapOp) versions() []uint64 {
	if op.version == 0 {
		return nil
	}
	return []uint64{uint64(op.version)}
}

// nextMapOp chooses a caller's next operation. seen is a version that the caller read.
func nextMapOp(rng *rand.Rand, seen int, value string) *mapOp {
	some := map[string]string{}
	for _, name := range mapNames {
		if rng.IntN(2) == 0 {
			some[name] = fmt.Sprint(value, rng.IntN(2))
		}
	}
	cas := uint64(seen)
	switch rng.IntN(16) {
	case 0, 1, 2:
		return &mapOp{kind: mapWrite, change: keep.Change{Set: some}}
	case 3:
		return &mapOp{kind: mapWrite, change: keep.Change{Remove: mapNames[:1+rng.IntN(2)]}}
	case 4, 5:
		return &mapOp{kind: mapWrite, change: keep.Change{Set: some, Replace: true, Always: true, CAS: &cas}}
	case 6:
		return &mapOp{kind: mapWrite, change: keep.Change{Set: some, Exists: true, CAS: &cas}}
	case 7, 8:
		return &mapOp{kind: mapWrite, change: keep.Change{Set: some, Replace: true, Merge: true, CAS: &cas}}
	case 9:
		return &mapOp{kind: mapDelete, version: rng.IntN(2) * seen}
	case 10:
		return &mapOp{kind: mapUndelete, version: max(seen, 1)}
	case 11:
		if rng.IntN(6) == 0 {
			return &mapOp{kind: mapClear}
		}
		return &mapOp{kind: mapOne}
	case 12, 13:
		return &mapOp{kind: mapNamesOf}
	case 14:
		return &mapOp{kind: mapDocument, version: seen}
	default:
		return &mapOp{kind: mapDocument}
	}
}

// TestLinearizable checks concurrent writes, deletions and reads of the secrets of a few
// organizations through both protocols.
func TestLinearizable(t *testing.T) {
	const workers, organizations, ops = 8, 3, 36
	histories(t, func(t *testing.T, rng *rand.Rand, h *history) {
		k := h.kit
		callers := []keep.Caller{k.Operator(t, keep.InfluxDB), k.Operator(t, keep.Vault)}
		var orgs []keep.ID
		for i := range organizations {
			made, err := k.CreateOrganization(t.Context(), callers[0], fmt.Sprint("o", i), "")
			if err != nil {
				t.Fatal(err)
			}
			orgs = append(orgs, made.ID)
		}
		h.together(rng, workers, func(rng *rand.Rand, w int) {
			for i := range ops {
				in := rng.IntN(organizations)
				d, err := k.Document(t.Context(), callers[1], orgs[in], 0)
				if err != nil && !errors.Is(err, keep.ErrVersionNotFound) {
					t.Error(err)
					return
				}
				op := nextMapOp(rng, int(d.Version.Number), fmt.Sprint(w, ".", i, "."))
				op.in, op.org, op.who = in, orgs[in], callers[rng.IntN(2)]
				h.do(t, w, op)
			}
		})
		h.check(t, mapLaw())
		k.CheckAudit(t)
	})
}

// TestHistoriesCanFail checks that a history that isn't linearizable is found.
func TestHistoriesCanFail(t *testing.T) {
	k := keeptest.New(t, nil)
	h := &history{kit: k, start: time.Now()}
	op := func(kind mapKind, ch keep.Change) *mapOp {
		return &mapOp{org: k.Org, who: k.Operator(t, keep.Vault), kind: kind, change: ch}
	}
	h.do(t, 0, op(mapWrite, set("a", "1")))
	h.do(t, 1, op(mapOne, keep.Change{}))
	h.check(t, mapLaw())
	h.all[1].Output = ""
	q := &quiet{TB: t}
	h.check(q, mapLaw())
	if !q.failed {
		t.Error("a read that missed an earlier write passed")
	}
}

// quiet is a testing.TB that only notes whether the test failed.
type quiet struct {
	testing.TB
	failed bool
}

func (q *quiet) Helper()               {}
func (q *quiet) Errorf(string, ...any) { q.failed = true }
