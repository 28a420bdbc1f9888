package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// deed is one request in a history: what a client asked of an organization's secrets, or
// of a token.
type deed struct {
	of     string // the organization or token
	kind   deedKind
	set    map[string]string
	remove []string
	whole  bool    // set replaces all secrets
	based  *uint64 // the version that the change must follow
}

type deedKind int

const (
	reading deedKind = iota
	changing
	activating // a token
	deactivating
	using
)

// finding is what a deed found out.
type finding struct {
	unknown bool // whether the change was made
	refused bool // because the version is another one, or the token is inactive
	version uint64
	secrets map[string]string
}

// situation is the state of an organization or a token. Since it must be comparable, the
// secrets are JSON.
type situation struct {
	version  uint64
	secrets  string
	inactive bool
}

func (s situation) content() map[string]string {
	content := map[string]string{}
	if s.secrets != "" {
		if err := json.Unmarshal([]byte(s.secrets), &content); err != nil {
			panic(err) // made by withContent
		}
	}
	return content
}

func (s situation) withContent(content map[string]string) situation {
	b, err := json.Marshal(content) // sorted
	if err != nil {
		panic(err) // strings always have JSON
	}
	if s.secrets != string(b) {
		s.version, s.secrets = s.version+1, string(b)
	}
	return s
}

// after returns the situation after the deed, if the situation before explains what was
// found.
func (d deed) after(s situation, f finding) (next situation, explained bool) {
	next = s
	switch d.kind {
	case reading:
		return s, f.version == s.version && maps.Equal(f.secrets, s.content())
	case using:
		return s, f.refused == s.inactive
	case activating, deactivating:
		next.inactive = d.kind == deactivating
		return next, true
	}
	if stale := d.based != nil && *d.based != s.version; stale || f.refused {
		return s, stale && (f.refused || f.unknown)
	}
	content := s.content()
	if d.whole {
		content = map[string]string{}
	}
	maps.Copy(content, d.set)
	for _, name := range d.remove {
		delete(content, name)
	}
	next = s.withContent(content)
	// Some answers have no version.
	return next, f.version == 0 || f.version == next.version
}

// judge is what porcupine knows of secrets and tokens.
var judge = func() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			parts := map[string][]porcupine.Operation{}
			for _, o := range history {
				of := o.Input.(deed).of
				parts[of] = append(parts[of], o)
			}
			return slices.Collect(maps.Values(parts))
		},
		Init: func() []any { return []any{situation{}} },
		Step: func(state, input, output any) []any {
			s, d, f := state.(situation), input.(deed), output.(finding)
			next, explained := d.after(s, f)
			switch {
			case !explained:
				return nil
			case f.unknown && next != s:
				return []any{s, next}
			}
			return []any{next}
		},
		Equal: func(a, b any) bool { return a == b },
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v -> %+v", input, output)
		},
	}
	return m.ToModel()
}()

// never is when a change of unknown outcome has returned: it can be made at any later time.
const never = math.MaxInt64

// TestJudge shows the judge wrong histories, and right ones that are close to them.
func TestJudge(t *testing.T) {
	set := func(value string) deed { return deed{kind: changing, set: map[string]string{"a": value}} }
	based := func(d deed, version uint64) deed { d.based = &version; return d }
	read := deed{kind: reading}
	done := finding{}
	made := func(version uint64) finding { return finding{version: version} }
	saw := func(version uint64, pairs ...string) finding {
		f := finding{version: version, secrets: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			f.secrets[pairs[i]] = pairs[i+1]
		}
		return f
	}
	unknown, refused := finding{unknown: true}, finding{refused: true}
	large := deed{kind: changing, whole: true, set: map[string]string{"b": "1", "c": "1"}}
	type step struct {
		deed
		finding
		overlaps bool // the step before it
	}
	for _, test := range []struct {
		name  string
		steps []step
		right bool
	}{
		{"a change is seen", []step{{set("1"), done, false}, {read, saw(1, "a", "1"), false}}, true},
		{"a change is lost", []step{{set("1"), done, false}, {read, saw(0), false}}, false},
		{"an old state is seen", []step{{set("1"), done, false}, {set("2"), done, false}, {read, saw(1, "a", "1"), false}}, false},
		{"one of two states is seen", []step{{set("1"), done, false}, {set("2"), done, false}, {read, saw(1, "a", "1"), true}}, true},
		{"a state goes back", []step{{set("1"), done, false}, {set("2"), unknown, false}, {read, saw(2, "a", "2"), true}, {read, saw(1, "a", "1"), false}}, false},
		{"a change with an unknown outcome was made", []step{{set("1"), unknown, false}, {read, saw(1, "a", "1"), false}}, true},
		{"a change with an unknown outcome was not made", []step{{set("1"), unknown, false}, {read, saw(0), false}}, true},
		{"a change is made twice", []step{{set("1"), done, false}, {set("2"), done, false}, {read, saw(3, "a", "1"), false}}, false},
		{"a change with an unknown outcome is made twice", []step{{set("1"), unknown, false}, {set("2"), made(2), false}, {read, saw(3, "a", "1"), false}}, false},
		{"a refused change", []step{{set("1"), made(1), false}, {based(set("2"), 0), refused, false}}, true},
		{"a change is refused for no reason", []step{{set("1"), made(1), false}, {based(set("2"), 1), refused, false}}, false},
		{"a refused change is made", []step{{set("1"), made(1), false}, {based(set("2"), 0), refused, false}, {read, saw(2, "a", "2"), false}}, false},
		{"two clients count", []step{{set("0"), made(1), false}, {based(set("1"), 1), made(2), false}, {based(set("1"), 1), refused, true}}, true},
		{"two clients count to the same number", []step{{set("0"), made(1), false}, {based(set("1"), 1), made(2), false}, {based(set("1"), 1), made(2), true}}, false},
		{"a number is skipped", []step{{set("0"), made(1), false}, {set("1"), made(3), false}}, false},
		{"a large change is seen", []step{{large, unknown, false}, {read, saw(1, "b", "1", "c", "1"), true}}, true},
		{"half of a large change is seen", []step{{large, unknown, false}, {read, saw(1, "b", "1"), true}}, false},
		{"an inactive token", []step{{deed{kind: deactivating}, done, false}, {deed{kind: using}, refused, false}}, true},
		{"an inactive token is let in", []step{{deed{kind: deactivating}, done, false}, {deed{kind: using}, done, false}}, false},
		{"an active token is refused", []step{{deed{kind: deactivating}, done, false}, {deed{kind: activating}, done, false}, {deed{kind: using}, refused, false}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var history []porcupine.Operation
			for i, s := range test.steps {
				call := int64(10 * i)
				o := porcupine.Operation{ClientId: i, Input: s.deed, Output: s.finding, Call: call, Return: call + 5}
				if s.overlaps {
					o.Call -= 6
				}
				if s.unknown {
					o.Return = never
				}
				history = append(history, o)
			}
			want := porcupine.Illegal
			if test.right {
				want = porcupine.Ok
			}
			if got := porcupine.CheckOperationsTimeout(judge, history, time.Minute); got != want {
				t.Errorf("the verdict is %s", got)
			}
		})
	}
}
