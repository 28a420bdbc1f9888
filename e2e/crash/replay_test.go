package main

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

func number(n uint64) *uint64 { return &n }

// TestOn follows the rules of each kind of change.
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
		"sets":                      {change: change{set: m{"a": "3", "d": "3"}}, want: m{"a": "3", "b": "1", "c": "2", "d": "3"}, set: "a d"},
		"sets what is there":        {change: change{set: m{"a": "2"}}, want: contents[2]},
		"removes":                   {change: change{remove: []string{"a", "x"}}, want: m{"b": "1", "c": "2"}, gone: "a"},
		"replaces":                  {change: change{set: m{"c": "3"}, replace: true}, want: m{"c": "3"}, set: "c", gone: "a b"},
		"for the version before":    {change: change{set: m{"c": "3"}, replace: true, cas: number(2)}, want: m{"c": "3"}, set: "c", gone: "a b"},
		"stale":                     {change: change{set: m{"c": "3"}, replace: true, cas: number(1)}, refuse: "made for version 1"},
		"ahead":                     {change: change{set: m{"c": "3"}, replace: true, cas: number(3), merge: true}, refuse: "made for version 3"},
		"merged":                    {change: change{set: m{"a": "1", "d": "3"}, replace: true, cas: number(1), merge: true}, want: m{"a": "2", "c": "2", "d": "3"}, set: "d", gone: "b"},
		"merged to the same":        {change: change{set: m{"a": "2", "b": "1"}, replace: true, cas: number(1), merge: true}, want: contents[2]},
		"merged in conflict":        {change: change{set: m{"a": "3", "b": "1"}, replace: true, cas: number(1), merge: true}, refuse: `"a" was changed`},
		"removed in conflict":       {change: change{set: m{"b": "1"}, replace: true, cas: number(1), merge: true}, refuse: `"a" was changed`},
		"merged by who saw nothing": {change: change{set: m{"d": "3"}, replace: true, cas: number(0), merge: true}, want: m{"a": "2", "b": "1", "c": "2", "d": "3"}, set: "d"},
		"the same when all is gone": {change: change{set: m{"d": "3"}, replace: true, cas: number(0), merge: true}, empty: true, want: m{"d": "3"}, set: "d"},
		"starts from nothing":       {change: change{set: m{"a": "2"}}, empty: true, want: m{"a": "2"}, set: "a"},
		"needs a document":          {change: change{set: m{"a": "2"}, exists: true}, empty: true, refuse: "no document"},
		"rolls back":                {change: change{from: 1}, want: contents[1], set: "a", gone: "c"},
		"rolls back too far":        {change: change{from: 9}, refuse: "version 9 is not known"},
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

// TestFollow shows that a version that differs from what was asked for in any
// way that is told is found.
func TestFollow(t *testing.T) {
	type m = map[string]string
	for name, c := range map[string]struct {
		spoil func(*record, *told, *document)
		want  string
	}{
		"as it must be":                {func(*record, *told, *document) {}, ""},
		"not kept any more":            {nil, ""},
		"half in the document":         {func(_ *record, _ *told, d *document) { delete(d.secrets, "b") }, "the document holds"},
		"another value":                {func(_ *record, _ *told, d *document) { d.secrets["b"] = "1" }, "the document holds"},
		"too much":                     {func(_ *record, _ *told, d *document) { d.secrets["z"] = "1" }, "the document holds"},
		"half in the audit log":        {func(r *record, _ *told, _ *document) { r.Names = r.Names[1:] }, "the audit log has"},
		"a removal not in the log":     {func(r *record, _ *told, _ *document) { r.Removed = nil }, "the audit log has"},
		"half in the history":          {func(_ *record, s *told, _ *document) { s.Added = nil }, "the history has"},
		"a removal not in the history": {func(_ *record, s *told, _ *document) { s.Removed = nil }, "the history has"},
		"a wrong count":                {func(_ *record, s *told, _ *document) { s.Count++ }, "the history has 4 names"},
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
			t.Errorf("%s: the model goes on with %v", name, model)
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
		"nothing was asked for": {nil, false, true},
		"deleted":               {[]stateChange{hide(1, 2)}, true, false},
		"undeleted":             {[]stateChange{hide(1, 2), show(3, 4)}, false, true},
		"deleted again":         {[]stateChange{hide(1, 2), show(3, 4), hide(5, 6)}, true, false},
		"perhaps deleted":       {[]stateChange{perhaps(hide(1, 9))}, true, true},
		"perhaps undeleted":     {[]stateChange{hide(1, 2), perhaps(show(3, 9))}, true, true},
		"at the same time":      {[]stateChange{hide(1, 4), show(3, 5)}, true, true},
	} {
		model := newModel()
		model.states[7] = c.states
		if h, s := model.may(7, true), model.may(7, false); h != c.hidden || s != c.shown {
			t.Errorf("%s: may be hidden %t, shown %t", name, h, s)
		}
	}
}

// TestOrder shows that what nobody can have seen in that order is found.
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
		made  []*operation // from version 5 on
		reads []*operation
		want  string
	}{
		"in order":                {[]*operation{write(1, 2), write(3, 4)}, []*operation{read(2, 3, 5, 5), read(5, 6, 6, 5)}, ""},
		"at the same time":        {[]*operation{write(2, 5), write(1, 4)}, []*operation{read(1, 6, 4, 0), read(1, 6, 6, 0)}, ""},
		"the later one first":     {[]*operation{write(3, 4), write(1, 2)}, nil, "version 6"},
		"unanswered and late":     {[]*operation{write(3, 4), lost(1)}, nil, ""},
		"seen before it was sent": {[]*operation{write(3, 4)}, []*operation{read(1, 2, 5, 0)}, "before it was asked for"},
		"not seen any more":       {[]*operation{write(1, 2)}, []*operation{read(3, 4, 4, 0)}, "after the next one"},
		"back in time":            {[]*operation{write(1, 9)}, []*operation{read(3, 4, 4, 5)}, "had been told of"},
	} {
		err := order(5, c.made, c.reads)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestPlaces shows that each place comes up, and random moments between.
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
			t.Errorf("%q is armed by %q", at.name, arm)
		}
	}
	for _, at := range places() {
		if !seen[at.name] {
			t.Errorf("%s never comes up", at.name)
		}
	}
	if random < len(places())/4 {
		t.Errorf("only %d kills at random moments", random)
	}
}
