package server

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func failOnDamage(t *testing.T) func(keep.Damage) {
	return func(d keep.Damage) { t.Errorf("%s: %v", d.What, d.Err) }
}

func TestCheck(t *testing.T) {
	whole, _ := wholeFolder(t)
	at := func(dir, name string) string { return filepath.Join(dir, name) }
	for _, tt := range []struct {
		name  string
		spoil func(dir string)
		want  string // names the damaged object
	}{
		{"nothing", func(string) {}, ""},
		{"audit log moved away", func(dir string) { remove(t, at(dir, "audit.log")) }, "the audit log"},
		{"audit log cut", func(dir string) { cut(t, at(dir, "audit.log"), 200) }, "the audit log"},
		{"keyset lost", func(dir string) { remove(t, at(dir, "keyset.json")) }, "the keyset"},
		{"keyset damaged", func(dir string) { flip(t, at(dir, "keyset.json")) }, "the keyset"},
		{"store lost", func(dir string) { removeAll(t, at(dir, "store")) }, "the store"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyFolder(t, whole)
			tt.spoil(dir)
			before := snapshot(t, dir)
			var found []string
			done, err := datadir.Check(t.Context(), testConfig(t, dir), func(d keep.Damage) { found = append(found, d.What) })
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(found, ", "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if done.Damaged != len(found) {
				t.Errorf("%d counted, %d told", done.Damaged, len(found))
			}
			if tt.want == "" && (done.Secrets != 1 || done.Organizations != 1 || done.Users != 1 || done.Lines == 0) {
				t.Errorf("examined %+v", done)
			}
			for _, d := range differences(before, snapshot(t, dir)) {
				if !strings.HasPrefix(d, "/"+"store") && !strings.HasPrefix(d, " was") {
					t.Errorf("changed: %s", d)
				}
			}
		})
	}
	t.Run("not looked at", func(t *testing.T) {
		dir := copyFolder(t, whole)
		remove(t, at(dir, "key"))
		if _, err := datadir.Check(t.Context(), testConfig(t, dir), failOnDamage(t)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without its key: %v", err)
		}
		running := start(t, filepath.Join(t.TempDir(), "data"))
		if _, err := datadir.Check(t.Context(), testConfig(t, running.data.Path()), failOnDamage(t)); !errors.Is(err, datadir.ErrLocked) {
			t.Errorf("while a server runs: %v", err)
		}
	})
}
