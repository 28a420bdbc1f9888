package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/race"
)

// newVariedLog writes a log of several files with records that differ in every
// field that a query selects by, and whose times are out of order by at most
// disorder lines.
func newVariedLog(tb testing.TB, path string, rng *rand.Rand, lines, disorder int) []string {
	tb.Helper()
	pick := func(texts ...string) string { return texts[rng.IntN(len(texts))] }
	rotation := testTime
	l := mustOpen(tb, path, &Options{Now: func() time.Time { return rotation }})
	defer mustClose(tb, l)
	ids := NewIDs()
	names := []string{path}
	for i := range lines {
		if i > 0 && rng.IntN(lines/3) == 0 {
			rotation = rotation.Add(time.Hour)
			if err := l.Rotate(); err != nil {
				tb.Fatal(err)
			}
			names = append(names, path+rotation.Format("-20060102T150405.000000000Z"))
		}
		r := Record{
			ID: ids.Next(), Time: testTime.Add(time.Duration(i-rng.IntN(disorder/2+1)) * time.Second),
			Action: pick("secrets.read", "secrets.write", "users.create"), Outcome: pick(Allowed, Refused),
			Organization: pick("", "0a1b2c3d4e5f6071", "0a1b2c3d4e5f6072"), User: pick("", "0b1b2c3d4e5f6071"), Token: pick("", "0c1b2c3d4e5f6071"),
			Protocol: pick("influxdb", "vault"), Names: []string{pick("db", `a"b*`, "é\x00")}, Removed: []string{pick("old", "db"), strings.Repeat("x", rng.IntN(300))},
		}
		if rng.IntN(20) == 0 {
			r.LimitNames(1)
		}
		if r.Action == "users.create" {
			r.Target, r.Called = fmt.Sprint("user", i), fmt.Sprint("name", i)
		}
		if err := l.Append(r.Append(nil)); err != nil {
			tb.Fatal(err)
		}
	}
	return names
}

// selects is a plain reading of what a query selects.
func (q *Query) selects(e *Entry) bool {
	if q.Before != 0 && e.Seq >= q.Before || e.Seq <= q.After || e.Time.Before(q.Since) || !q.Until.IsZero() && !e.Time.Before(q.Until) {
		return false
	}
	for _, f := range [][2]string{{e.User, q.User}, {e.Token, q.Token}, {e.Outcome, q.Outcome}, {e.Protocol, q.Protocol}} {
		if f[1] != "" && f[0] != f[1] {
			return false
		}
	}
	if len(q.Organizations) > 0 && !slices.Contains(q.Organizations, e.Organization) {
		return false
	}
	if q.Action == "secrets.*" && !strings.HasPrefix(e.Action, "secrets.") || q.Action == "secrets.read" && e.Action != q.Action || e.Action == q.Ignore {
		return false
	}
	return len(q.Secret) == 0 || e.lacksNames() || slices.ContainsFunc(append(e.Names, e.Removed...), func(n string) bool { return slices.Contains(q.Secret, n) })
}

// TestFindAgreesWithAModel compares random queries, page by page, with a plain
// reading of the whole log.
func TestFindAgreesWithAModel(t *testing.T) {
	race.SkipSequential(t)
	const lines, disorder = 600, 20
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		path := logPath(t)
		names := newVariedLog(t, path, rng, lines, disorder)
		all := readEntries(t, path)
		if seed%2 == 1 {
			for _, name := range names[1:] {
				gzipFile(t, name)
			}
		}
		maybe := func(texts ...string) string { return append(texts, "", "")[rng.IntN(len(texts)+2)] }
		for range 30 {
			q := Query{
				User: maybe("0b1b2c3d4e5f6071", "0b1b2c3d4e5f6072"), Token: maybe("0c1b2c3d4e5f6071"), Outcome: maybe(Refused),
				Protocol: maybe("vault"), Action: maybe("secrets.*", "secrets.read"), Ignore: maybe("secrets.write"), Limit: rng.IntN(40),
			}
			if rng.IntN(2) == 0 {
				q.Organizations = []string{"0a1b2c3d4e5f6071", "0a1b2c3d4e5f6073"}
			}
			if rng.IntN(2) == 0 {
				q.Secret = []string{maybe("db", `a"b*`, "é\x00", "old"), "other"}
			}
			if rng.IntN(2) == 0 {
				q.Since = testTime.Add(time.Duration(rng.IntN(lines)) * time.Second)
			}
			if rng.IntN(2) == 0 {
				q.Until = testTime.Add(time.Duration(rng.IntN(lines)) * time.Second)
			}
			if rng.IntN(3) == 0 {
				q.After = rng.Uint64N(lines)
			}
			var want []uint64
			for _, e := range slices.Backward(all) {
				if q.selects(&e) {
					want = append(want, e.Seq)
				}
			}
			var got []uint64
			w := work{bytes: 1000 + rng.IntN(100_000), disorder: disorder}
			query := q
			for pages := 0; ; pages++ {
				p, err := find(t.Context(), path, query, w)
				if err != nil || len(p.Damage) > 0 || q.Limit > 0 && len(p.Entries) > q.Limit || p.Last != lines {
					t.Fatalf("seed %d, %+v: %d entries, last %d, damage %q, %v", seed, query, len(p.Entries), p.Last, p.Damage, err)
				}
				for _, e := range p.Entries {
					got = append(got, e.Seq)
				}
				if p.Next == 0 {
					break
				}
				if query.Before != 0 && p.Next >= query.Before {
					t.Fatalf("seed %d, %+v: the next page starts at %d", seed, query, p.Next)
				}
				query.Before = p.Next
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %+v, %+v:\ngot  %v\nwant %v", seed, q, w, got, want)
			}
		}
	}
}

// TestFindReadsLittle finds lines at the end and in the middle of a long log
// without reading the rest.
func TestFindReadsLittle(t *testing.T) {
	path := logPath(t)
	newVariedLog(t, path, rand.New(rand.NewPCG(7, 7)), 20_000, 10)
	w := work{bytes: 100_000, disorder: 20}
	for name, q := range map[string]Query{
		"last":     {Limit: 5},
		"recent":   {Since: testTime.Add(19_900 * time.Second)},
		"position": {Before: 9000, Limit: 5},
		"time":     {Since: testTime.Add(9000 * time.Second), Until: testTime.Add(9100 * time.Second)},
		"new":      {After: 19_990},
	} {
		p, err := find(t.Context(), path, q, w)
		if err != nil || len(p.Entries) < 5 {
			t.Errorf("%s: %d entries on the first page, %v", name, len(p.Entries), err)
		}
		if q.Limit == 0 && p.Next != 0 {
			t.Errorf("%s: there is a next page", name)
		}
	}
	p, err := find(t.Context(), path, Query{User: "nobody"}, w)
	if err != nil || len(p.Entries) != 0 || p.Next == 0 {
		t.Errorf("a page without entries: %d entries, next %d, %v", len(p.Entries), p.Next, err)
	}
}

func TestFindNamesWhatWasDeleted(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, nil)
	ids := NewIDs()
	for _, r := range []Record{
		{Action: "users.create", Target: "u", Called: "ann"},
		{Action: "secrets.read", User: "u"},
		{Action: "users.delete", Target: "u", Called: "anne"},
	} {
		r.ID, r.Time = ids.Next(), testTime
		if err := l.Append(r.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := l.Find(t.Context(), Query{User: "u"})
	if err != nil || len(p.Entries) != 1 || p.Called["u"] != "anne" {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestFindShowsDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		change func([][]byte) [][]byte
		want   string
		found  int
	}{
		"none": {func(l [][]byte) [][]byte { return l }, "", 500},
		"changed": {func(l [][]byte) [][]byte {
			l[99] = bytes.Replace(l[99], []byte("allowed"), []byte("refused"), 1)
			return l
		}, "line 101 does not have the hash of line 100", 500},
		"removed":     {func(l [][]byte) [][]byte { return slices.Delete(l, 99, 101) }, "lines 100 to 101 are missing", 498},
		"garbage":     {func(l [][]byte) [][]byte { l[99] = []byte("garbage\n"); return l }, "the line before line 101: not a line of an audit log", 499},
		"half a line": {func(l [][]byte) [][]byte { l[499] = l[499][:40]; return l }, "", 499},
	} {
		path := logPath(t)
		newLogWith(t, path, 500)
		lines := bytes.SplitAfter(mustRead(t, path), []byte("\n"))
		mustWrite(t, path, bytes.Join(tt.change(lines[:500]), nil))
		// Small pages, so that there is a search for each position.
		var q Query
		found, damage := 0, ""
		for {
			p, err := find(t.Context(), path, q, work{bytes: 3000, disorder: 1})
			if err != nil {
				t.Fatal(err)
			}
			found += len(p.Entries)
			damage += strings.Join(p.Damage, "\n")
			if q.Before = p.Next; p.Next == 0 {
				break
			}
		}
		if found != tt.found {
			t.Errorf("%s: found %d lines, want %d", name, found, tt.found)
		}
		if p, err := Find(t.Context(), path, Query{}); err != nil || len(p.Entries) != tt.found || strings.Join(p.Damage, "\n") != tt.want {
			t.Errorf("%s: found %d lines, %v; damage %q", name, len(p.Entries), err, p.Damage)
		}
	}
	path := logPath(t)
	names, _ := newRotatedLog(t, path, 10, 10)
	mustWrite(t, names[0], []byte("garbage\n"))
	p, err := Find(t.Context(), path, Query{})
	if err != nil || len(p.Entries) != 10 || len(p.Damage) != 1 {
		t.Errorf("with a damaged file: %d entries, damage %q, %v", len(p.Entries), p.Damage, err)
	}
}

func TestFindWithoutALog(t *testing.T) {
	path := logPath(t)
	if _, err := Find(t.Context(), path, Query{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
	mustWrite(t, path, nil)
	if p, err := Find(t.Context(), path, Query{}); err != nil || p.Next != 0 || len(p.Entries) > 0 {
		t.Errorf("an empty log: %+v, %v", p, err)
	}
	l := mustOpen(t, os.DevNull, nil)
	if _, err := l.Find(t.Context(), Query{}); !errors.Is(err, ErrStream) {
		t.Errorf("a stream: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	newLogWith(t, logPath(t), 1)
	if _, err := Find(ctx, path, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
