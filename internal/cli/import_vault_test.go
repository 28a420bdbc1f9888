package cli

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/vaultsource"
)

func TestDocumentRules(t *testing.T) {
	for _, bad := range []string{"", "a", "=b", "a=", "*/*=b"} {
		if _, err := parseRules([]string{bad}); err == nil {
			t.Errorf("--map %q is accepted", bad)
		}
	}
	rules, err := parseRules([]string{"a/b=exact", "apps/*=apps", "*/prod=production", "x*y=xy"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a/b":       "exact  true",
		"a/b/c":     "  false",
		"apps/db":   "apps db_ true",
		"apps/a/b":  "apps a/b_ true",
		"apps/":     "  false",
		"apps/prod": "apps prod_ true", // the first rule counts
		"team/prod": "production team_ true",
		"prod":      "  false",
		"xzy":       "xy z_ true",
		"xy":        "  false",
	} {
		org, prefix, ok := target(rules, path, "_")
		if got := fmt.Sprint(org, " ", prefix, " ", ok); got != want {
			t.Errorf("%s goes to %q, want %q", path, got, want)
		}
	}
	if org, prefix, ok := target(nil, "a/b", "_"); org != "a/b" || prefix != "" || !ok {
		t.Errorf("without rules: %q %q %v", org, prefix, ok)
	}
}

func TestStates(t *testing.T) {
	doc := func(path string, minute int, secrets ...string) sourceDocument {
		d := sourceDocument{path, vaultsource.Document{Created: time.Unix(int64(60*minute), 0), Secrets: map[string]string{}}}
		for _, s := range secrets {
			d.Secrets[s] = fmt.Sprint(minute)
		}
		return d
	}
	list := []sourceDocument{doc("b", 2, "b"), doc("b", 5), doc("a", 1, "a", "x"), doc("a", 3, "a"), doc("b", 6, "b")}
	got, err := statesOf(list, 10)
	want := []map[string]string{
		{"a": "1", "x": "1"}, {"a": "1", "x": "1", "b": "2"}, {"a": "3", "b": "2"}, {"a": "3"}, {"a": "3", "b": "6"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := statesOf(list, 2); err != nil || !reflect.DeepEqual(got, want[3:]) {
		t.Errorf("the last two: %v, %v", got, err)
	}
	if _, err := statesOf([]sourceDocument{doc("a", 1, "x"), doc("b", 2, "x")}, 10); err == nil {
		t.Error("two documents with the same secret are accepted")
	}
}

// TestStatesOfMany checks that the versions of many documents in one organization don't
// each take the memory of all its secrets.
func TestStatesOfMany(t *testing.T) {
	var list []sourceDocument
	for i := range 4000 {
		for minute := range 10 {
			list = append(list, sourceDocument{fmt.Sprint(i), vaultsource.Document{
				Created: time.Unix(int64(60*minute), 0), Secrets: map[string]string{fmt.Sprint(i): fmt.Sprint(minute)},
			}})
		}
	}
	got, err := statesOf(list, 10)
	if err != nil || len(got) != 10 || len(got[9]) != 4000 {
		t.Errorf("%d states, %v", len(got), err)
	}
}
