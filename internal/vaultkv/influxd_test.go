package vaultkv_test

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// readAs does what influxd does before each change: it reads the document, and
// treats a 404 without data as an empty one.
func (s *server) readAs(tb testing.TB, token string) (map[string]string, int) {
	tb.Helper()
	a := s.do(tb, "GET", s.influxd("data"), token, "")
	if a.status == http.StatusNotFound && a.text != "{\"errors\":[]}\n" {
		tb.Errorf("a 404 with %s makes every later call of influxd fail", a.text)
	}
	data, version := a.document(tb)
	return data, int(version)
}

// writeAs writes a whole document back.
func (s *server) writeAs(tb testing.TB, token string, data map[string]string, cas int) answer {
	tb.Helper()
	return s.do(tb, "PUT", s.influxd("data"), token, body(tb, data, cas))
}

func wantValues(tb testing.TB, s *server, want map[string]string) {
	tb.Helper()
	if got := s.MustValues(tb); !maps.Equal(got, want) {
		tb.Errorf("secrets are %v, want %v", got, want)
	}
}

const influxdWriters = 12

// TestConcurrentInfluxdWriters lets all writers read before the first one
// writes, so that all but one have a stale check-and-set.
func TestConcurrentInfluxdWriters(t *testing.T) {
	for _, start := range []map[string]string{{}, {"kept": "v", "name3": "old", "gone5": "v"}} {
		t.Run(fmt.Sprintf("%d secrets before", len(start)), func(t *testing.T) {
			s := newServer(t, nil)
			if len(start) > 0 {
				s.op(t, "PUT", s.influxd("data"), body(t, start, 0)).want(t, 200)
			}
			want := maps.Clone(start)
			var reads, writes sync.WaitGroup
			reads.Add(influxdWriters)
			for i := range influxdWriters {
				name := fmt.Sprintf("name%d", i)
				want[name] = "new"
				if i == 5 {
					delete(want, "gone5")
				}
				writes.Go(func() {
					data, cas := s.readAs(t, s.OperatorToken)
					reads.Done()
					reads.Wait()
					data[name] = "new"
					if i == 5 {
						delete(data, "gone5")
					}
					if a := s.writeAs(t, s.OperatorToken, data, cas); a.status != 200 {
						t.Errorf("writer %d: %d %s", i, a.status, a.text)
					}
				})
			}
			writes.Wait()
			wantValues(t, s, want)
		})
	}
}

// TestInfluxdWritersOverTime lets writers read and write at will, each with
// its own names. Nothing may be refused or lost.
func TestInfluxdWritersOverTime(t *testing.T) {
	s := newServer(t, nil)
	want := map[string]string{}
	var wg sync.WaitGroup
	for i := range influxdWriters {
		want[fmt.Sprintf("name%d", i)] = "9"
		wg.Go(func() {
			for n := range 10 {
				data, cas := s.readAs(t, s.OperatorToken)
				data[fmt.Sprintf("name%d", i)] = fmt.Sprint(n)
				data[fmt.Sprintf("passing%d", i)] = fmt.Sprint(n)
				if n == 9 {
					delete(data, fmt.Sprintf("passing%d", i))
				}
				if a := s.writeAs(t, s.OperatorToken, data, cas); a.status != 200 {
					t.Errorf("writer %d, round %d: %d %s", i, n, a.status, a.text)
				}
			}
		})
	}
	wg.Wait()
	wantValues(t, s, want)
}

func TestStaleCheckAndSet(t *testing.T) {
	base := map[string]string{"a": "1", "b": "1", "c": "1"}
	for _, c := range []struct {
		name      string
		other     map[string]string // what another writer makes of it in between
		mine      map[string]string
		want      map[string]string // nil: refused
		unchanged bool              // the write changes nothing
	}{
		{"other names", map[string]string{"a": "2", "b": "1", "c": "1"}, map[string]string{"a": "1", "b": "2", "c": "1"}, map[string]string{"a": "2", "b": "2", "c": "1"}, false},
		{"one added, one removed", map[string]string{"a": "1", "b": "1"}, map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}, map[string]string{"a": "1", "b": "1", "d": "1"}, false},
		{"both add different names", map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}, map[string]string{"a": "1", "b": "1", "c": "1", "e": "1"}, map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1"}, false},
		{"the same change", map[string]string{"a": "2", "b": "1", "c": "1"}, map[string]string{"a": "2", "b": "1", "c": "1"}, map[string]string{"a": "2", "b": "1", "c": "1"}, true},
		{"the same removal", map[string]string{"a": "1", "b": "1"}, map[string]string{"a": "1", "b": "1"}, map[string]string{"a": "1", "b": "1"}, true},
		{"no change by this writer", map[string]string{"a": "2"}, base, map[string]string{"a": "2"}, true},
		{"one name, two values", map[string]string{"a": "2", "b": "1", "c": "1"}, map[string]string{"a": "3", "b": "1", "c": "1"}, nil, false},
		{"one name added twice", map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}, map[string]string{"a": "1", "b": "1", "c": "1", "d": "2"}, nil, false},
		{"changed and removed", map[string]string{"a": "2", "b": "1", "c": "1"}, map[string]string{"b": "1", "c": "1"}, nil, false},
		{"removed and changed", map[string]string{"b": "1", "c": "1"}, map[string]string{"a": "2", "b": "1", "c": "1"}, nil, false},
		{"one of two in conflict", map[string]string{"a": "2", "b": "1", "c": "1"}, map[string]string{"a": "3", "b": "3", "c": "1"}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, nil)
			s.op(t, "PUT", s.influxd("data"), body(t, base, 0)).want(t, 200)
			s.op(t, "PUT", s.influxd("data"), body(t, c.other, 1)).want(t, 200)
			strict := s.op(t, "PUT", s.at("data"), body(t, c.mine, 1))
			strict.wantErrors(t, 400, "check-and-set parameter did not match the current version")
			a := s.op(t, "PUT", s.influxd("data"), body(t, c.mine, 1))
			if c.want == nil {
				a.wantErrors(t, 400, "check-and-set parameter did not match the current version")
				wantValues(t, s, c.other)
				if n := s.Stats().MergeConflicts.Load(); n != 1 {
					t.Errorf("%d conflicts counted, want 1", n)
				}
				return
			}
			a.want(t, 200)
			wantValues(t, s, c.want)
			h := s.history(t)[0]
			if h.Merged != 1 || h.Protocol != keep.Influxd {
				t.Errorf("the newest version merged %d over %s, want 1 over %s", h.Merged, h.Protocol, keep.Influxd)
			}
			if touched := len(h.Added) + len(h.Changed) + len(h.Removed); (touched == 0) != c.unchanged {
				t.Errorf("the newest version added %v, changed %v, removed %v", h.Added, h.Changed, h.Removed)
			}
			if n := s.Stats().Merges.Load(); n != 1 {
				t.Errorf("%d merges counted, want 1", n)
			}
		})
	}
}

// TestPrunedVersionIsNoBase checks that a write based on a removed version is
// refused.
func TestPrunedVersionIsNoBase(t *testing.T) {
	s := newServer(t, nil)
	data := map[string]string{"a": "1"}
	for n := range 100 {
		data["a"] = fmt.Sprint(n)
		s.op(t, "PUT", s.influxd("data"), body(t, data, n)).want(t, 200)
	}
	// A version read a day ago is removed, a retained one is not.
	s.Clock.Advance(24 * time.Hour)
	s.op(t, "PUT", s.influxd("data"), body(t, data, 100)).want(t, 200)
	stale := map[string]string{"a": "99", "b": "1"}
	for _, read := range []int{1, 50, 91, 102, 10_000} {
		s.op(t, "PUT", s.influxd("data"), body(t, stale, read)).
			wantErrors(t, 400, "check-and-set parameter did not match the current version")
	}
	wantValues(t, s, data)
	s.op(t, "PUT", s.influxd("data"), body(t, stale, 100)).want(t, 200)
	wantValues(t, s, stale)
}

// TestWriteWithoutCheckAndSet writes as influxd's notification endpoints and
// Telegraf do: they replace the whole document with what they know. One step
// must undo it.
func TestWriteWithoutCheckAndSet(t *testing.T) {
	s := newServer(t, nil)
	before := map[string]string{"a": "1", "b": "2", "c": "3"}
	s.op(t, "PUT", s.influxd("data"), body(t, before, 0)).want(t, 200)
	s.op(t, "PUT", s.influxd("data"), body(t, map[string]string{"only": "x"}, -1)).want(t, 200)
	wantValues(t, s, map[string]string{"only": "x"})
	h := s.history(t)
	if len(h) != 2 || h[0].Pinned || !h[1].Pinned {
		t.Fatalf("pinned versions: %+v", h)
	}
	if n := s.Stats().DropGuards.Load(); n != 1 {
		t.Errorf("%d drop guards counted, want 1", n)
	}
	// It stays, however many versions follow.
	for n := range 20 {
		s.op(t, "PUT", s.influxd("data"), body(t, map[string]string{"only": fmt.Sprint(n)}, n+2)).want(t, 200)
	}
	op := s.Operator(t, keep.Vault)
	if _, err := s.Rollback(t.Context(), op, s.Org, 1); err != nil {
		t.Fatal(err)
	}
	wantValues(t, s, before)
	if err := s.Unpin(t.Context(), op, s.Org, 1); err != nil {
		t.Fatal(err)
	}
	for _, v := range s.history(t) {
		if v.Number == 1 {
			t.Error("version 1 still exists")
		}
	}
	wantValues(t, s, before)
}

func TestDropGuard(t *testing.T) {
	names := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("name%d", i)] = "v"
		}
		return m
	}
	for _, c := range []struct {
		before, after int
		cas           bool
		guarded       bool
	}{
		{4, 3, true, false},
		{4, 2, true, false},
		{4, 1, true, true}, // more than one, and more than half
		{2, 1, true, false},
		{2, 0, true, true},
		{1, 0, true, false},
		{4, 4, false, false}, // nothing is lost
		{4, 3, false, true},
	} {
		s := newServer(t, nil)
		s.op(t, "PUT", s.influxd("data"), body(t, names(c.before), 0)).want(t, 200)
		cas := -1
		if c.cas {
			cas = 1
		}
		s.op(t, "PUT", s.influxd("data"), body(t, names(c.after), cas)).want(t, 200)
		if got := s.history(t)[1].Pinned; got != c.guarded {
			t.Errorf("from %d to %d names, check-and-set %v: pinned is %v, want %v", c.before, c.after, c.cas, got, c.guarded)
		}
	}
	// The strict address has no guard: its clients mean what they write.
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), body(t, names(9), 0)).want(t, 200)
	s.op(t, "PUT", s.at("data"), body(t, names(0), -1)).want(t, 200)
	if s.history(t)[1].Pinned {
		t.Error("the strict address pinned a version")
	}
}

// TestSoftDelete checks that influxd never sees Vault's response for a deleted
// document, which breaks it.
func TestSoftDelete(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.influxd("data"), body(t, map[string]string{"a": "1", "b": "1"}, 0)).want(t, 200)
	s.op(t, "DELETE", s.at("data"), "").want(t, 204)

	if deleted := s.op(t, "GET", s.at("data"), ""); deleted.status != 404 || deleted.get(t, "data", "data") != nil || deleted.version(t) != 1 {
		t.Errorf("the strict address returned %d %s", deleted.status, deleted.text)
	}
	for _, target := range []string{s.influxd("data"), s.influxd("data") + "?version=1", s.influxd("subkeys")} {
		s.op(t, "GET", target, "").wantErrors(t, 404)
	}
	// The next write is the whole document.
	s.op(t, "PUT", s.influxd("data"), body(t, map[string]string{"c": "1"}, 0)).want(t, 200)
	wantValues(t, s, map[string]string{"c": "1"})
	// A writer that had also read nothing is merged, even for a name of the
	// deleted document.
	s.op(t, "PUT", s.influxd("data"), body(t, map[string]string{"b": "2"}, 0)).want(t, 200)
	wantValues(t, s, map[string]string{"b": "2", "c": "1"})
	s.op(t, "PUT", s.influxd("data"), body(t, map[string]string{"c": "other"}, 0)).
		wantErrors(t, 400, "check-and-set parameter did not match the current version")
}

func TestAdoption(t *testing.T) {
	s := newServer(t, nil)
	all := s.OperatorToken
	const id = "00000000deadbeef"
	for _, mount := range []string{"/influxd/v1/", "/v1/"} {
		path := mount + "secret/data/"
		s.do(t, "GET", path+id, all, "").wantErrors(t, 404)
		s.do(t, "PATCH", path+id, all, `{"data":{"a":"1"}}`, "Content-Type", mergePatch).wantErrors(t, 404, "organization not found")
		s.do(t, "PUT", path+id, s.writerToken(t).Value, `{"data":{"a":"1"}}`).wantErrors(t, 403, "permission denied")
		s.do(t, "PUT", path+id, all, `{"data":{"a":"1"},"options":{"cas":0}}`).want(t, 200)
		if got, _ := s.do(t, "GET", path+id, all, "").document(t); got["a"] != "1" {
			t.Errorf("%s: the adopted organization has %v", mount, got)
		}
		// A name doesn't suffice to adopt an organization.
		s.do(t, "PUT", path+"no-such-name", all, `{"data":{"a":"1"}}`).wantErrors(t, 404, "organization not found")
		op := s.Operator(t, keep.Vault)
		org, err := s.ResolveOrganization(t.Context(), op, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteOrganization(t.Context(), op, org); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Adopted.Load(); n != 2 {
		t.Errorf("%d adoptions counted, want 2", n)
	}
}
