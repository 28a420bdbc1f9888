package main

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

func number(n uint64) *uint64 { return &n }

// TestOn checks the rules of each kind of change.
func TestOn(t *testing.T) {
	contents := map[uint64]map[string]string{
		0: nil,
		1: {"a": "1", "b": "1"},
		2: {"a": "2", "b": "1", "c": "2"},
	}
	before := func(n uint64) (map[string]string, bool) { c, ok := contents[n]; return c, ok }
	type m = map[string]string
	for name, c := range map[string]struct {
		change change
		empty  bool
		want   m
		set    string
		gone   string
		refuse string
	}{
		"sets":                         {change: change{set: m{"a": "3", "d": "3"}}, want: m{"a": "3", "b": "1", "c": "2", "d": "3"}, set: "a d"},
		"sets the current value":       {change: change{set: m{"a": "2"}}, want: contents[2]},
		"removes":                      {change: change{remove: []string{"a", "x"}}, want: m{"b": "1", "c": "2"}, gone: "a"},
		"replaces":                     {change: change{set: m{"c": "3"}, replace: true}, want: m{"c": "3"}, set: "c", gone: "a b"},
		"based on the current version": {change: change{set: m{"c": "3"}, replace: true, cas: number(2)}, want: m{"c": "3"}, set: "c", gone: "a b"},
		"stale":                        {change: change{set: m{"c": "3"}, replace: true, cas: number(1)}, refuse: "made for version 1"},
		"ahead":                        {change: change{set: m{"c": "3"}, replace: true, cas: number(3), merge: true}, refuse: "made for version 3"},
		"merged":                       {change: change{set: m{"a": "1", "d": "3"}, replace: true, cas: number(1), merge: true}, want: m{"a": "2", "c": "2", "d": "3"}, set: "d", gone: "b"},
		"merged without a change":      {change: change{set: m{"a": "2", "b": "1"}, replace: true, cas: number(1), merge: true}, want: contents[2]},
		"merged in conflict":           {change: change{set: m{"a": "3", "b": "1"}, replace: true, cas: number(1), merge: true}, refuse: `"a" was changed`},
		"removed in conflict":          {change: change{set: m{"b": "1"}, replace: true, cas: number(1), merge: true}, refuse: `"a" was changed`},
		"merged without having read":   {change: change{set: m{"d": "3"}, replace: true, cas: number(0), merge: true}, want: m{"a": "2", "b": "1", "c": "2", "d": "3"}, set: "d"},
		"the same without a document":  {change: change{set: m{"d": "3"}, replace: true, cas: number(0), merge: true}, empty: true, want: m{"d": "3"}, set: "d"},
		"merged after a deletion":      {change: change{set: m{"b": "1", "c": "2", "a": "2", "d": "3"}, replace: true, cas: number(2), merge: true}, empty: true, want: m{"d": "3"}, set: "d"},
		"deleted in conflict":          {change: change{set: m{"a": "3"}, replace: true, cas: number(2), merge: true}, empty: true, refuse: `"a" was changed`},
		"starts from nothing":          {change: change{set: m{"a": "2"}}, empty: true, want: m{"a": "2"}, set: "a"},
		"needs a document":             {change: change{set: m{"a": "2"}, exists: true}, empty: true, refuse: "no document"},
		"rolls back":                   {change: change{from: 1}, want: contents[1], set: "a", gone: "c"},
		"rolls back too far":           {change: change{from: 9}, refuse: "version 9 is not known"},
	} {
		e, err := c.change.on(contents[2], 3, c.empty, before)
		if c.refuse != "" {
			if err == nil || !strings.Contains(err.Error(), c.refuse) {
				t.Errorf("%s: %v, want %q", name, err, c.refuse)
			}
			continue
		}
		if err != nil || !maps.Equal(e.content, c.want) || strings.Join(e.set, " ") != c.set || strings.Join(e.removed, " ") != c.gone {
			t.Errorf("%s: %v, %+v", name, err, e)
		}
	}
}

// TestFollow checks that a version that differs from the request in any
// reported way is found.
func TestFollow(t *testing.T) {
	type m = map[string]string
	for name, c := range map[string]struct {
		spoil func(*record, *told, *document)
		want  string
	}{
		"correct":                      {func(*record, *told, *document) {}, ""},
		"no longer stored":             {nil, ""},
		"partly in the document":       {func(_ *record, _ *told, d *document) { delete(d.secrets, "b") }, "the document has"},
		"another value":                {func(_ *record, _ *told, d *document) { d.secrets["b"] = "1" }, "the document has"},
		"too much":                     {func(_ *record, _ *told, d *document) { d.secrets["z"] = "1" }, "the document has"},
		"partly in the audit log":      {func(r *record, _ *told, _ *document) { r.Names = r.Names[1:] }, "the audit log has"},
		"removal not in the audit log": {func(r *record, _ *told, _ *document) { r.Removed = nil }, "the audit log has"},
		"partly in the history":        {func(_ *record, s *told, _ *document) { s.Added = nil }, "the history has"},
		"removal not in the history":   {func(_ *record, s *told, _ *document) { s.Removed = nil }, "the history has"},
		"wrong count":                  {func(_ *record, s *told, _ *document) { s.Count++ }, "the history has 4 names"},
	} {
		model := newModel()
		model.content[1], model.last = m{"a": "1", "c": "1", "d": "1"}, 1
		op := &operation{worker: &worker{name: "w"}, org: &org{name: "o"}, kind: changing, change: change{set: m{"a": "2", "b": "2"}, remove: []string{"c"}}}
		r := &record{Names: []string{"a", "b"}, Removed: []string{"c"}}
		s := &told{Added: []string{"b"}, Changed: []string{"a"}, Removed: []string{"c"}, Count: 3}
		d := &document{version: 2, secrets: m{"a": "2", "b": "2", "d": "1"}}
		if c.spoil == nil {
			s, d = nil, nil
		} else {
			c.spoil(r, s, d)
		}
		err := model.follow(2, op, r, s, d)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil && (model.last != 2 || !maps.Equal(model.content[2], m{"a": "2", "b": "2", "d": "1"})) {
			t.Errorf("%s: the model continues with %v", name, model)
		}
	}
}

func TestMay(t *testing.T) {
	hide := func(sent, end int64) stateChange { return stateChange{true, sent, end, false} }
	show := func(sent, end int64) stateChange { return stateChange{false, sent, end, false} }
	perhaps := func(s stateChange) stateChange { s.maybe = true; return s }
	for name, c := range map[string]struct {
		states        []stateChange
		hidden, shown bool
	}{
		"no requests":       {nil, false, true},
		"deleted":           {[]stateChange{hide(1, 2)}, true, false},
		"undeleted":         {[]stateChange{hide(1, 2), show(3, 4)}, false, true},
		"deleted again":     {[]stateChange{hide(1, 2), show(3, 4), hide(5, 6)}, true, false},
		"perhaps deleted":   {[]stateChange{perhaps(hide(1, 9))}, true, true},
		"perhaps undeleted": {[]stateChange{hide(1, 2), perhaps(show(3, 9))}, true, true},
		"concurrent":        {[]stateChange{hide(1, 4), show(3, 5)}, true, true},
	} {
		model := newModel()
		model.states[7] = c.states
		if h, s := model.may(7, true), model.may(7, false); h != c.hidden || s != c.shown {
			t.Errorf("%s: may be hidden %t, shown %t", name, h, s)
		}
	}
}

// TestOrder checks that observations in an impossible order are found.
func TestOrder(t *testing.T) {
	write := func(sent, done int64) *operation {
		return &operation{worker: &worker{}, org: &org{}, sent: sent, done: done, outcome: acknowledged}
	}
	lost := func(sent int64) *operation {
		return &operation{worker: &worker{}, org: &org{}, sent: sent, done: sent + 1, outcome: unanswered}
	}
	read := func(sent, done int64, version, newest uint64) *operation {
		return &operation{worker: &worker{}, org: &org{}, sent: sent, done: done, seen: &document{version: version}, newest: newest, outcome: acknowledged}
	}
	for name, c := range map[string]struct {
		made  []*operation // starting at version 5
		reads []*operation
		want  string
	}{
		"in order":                     {[]*operation{write(1, 2), write(3, 4)}, []*operation{read(2, 3, 5, 5), read(5, 6, 6, 5)}, ""},
		"concurrent":                   {[]*operation{write(2, 5), write(1, 4)}, []*operation{read(1, 6, 4, 0), read(1, 6, 6, 0)}, ""},
		"in reverse order":             {[]*operation{write(3, 4), write(1, 2)}, nil, "version 6"},
		"unanswered and late":          {[]*operation{write(3, 4), lost(1)}, nil, ""},
		"seen before it was requested": {[]*operation{write(3, 4)}, []*operation{read(1, 2, 5, 0)}, "before it was requested"},
		"no longer current":            {[]*operation{write(1, 2)}, []*operation{read(3, 4, 4, 0)}, "after the next one"},
		"back in time":                 {[]*operation{write(1, 9)}, []*operation{read(3, 4, 4, 5)}, "had been reported"},
	} {
		err := order(5, c.made, c.reads)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestPlaces checks that each place comes up, with random moments between.
func TestPlaces(t *testing.T) {
	p := planner{random: rand.New(rand.NewPCG(1, 1))}
	seen, random := map[string]bool{}, 0
	for range 2 * len(places()) {
		at, arm := p.next()
		if arm == "" {
			random++
			continue
		}
		if seen[at.name] = true; !strings.HasPrefix(arm, "kill "+at.name+" ") {
			t.Errorf("%q was armed by %q", at.name, arm)
		}
	}
	for _, at := range places() {
		if !seen[at.name] {
			t.Errorf("%s never came up", at.name)
		}
	}
	if random < len(places())/4 {
		t.Errorf("only %d kills at random moments", random)
	}
}
