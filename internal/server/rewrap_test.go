package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

func TestRewrap(t *testing.T) {
	dir, ts := wholeFolder(t)
	newKey := filepath.Join(t.TempDir(), "new.key")
	before := snapshot(t, dir)
	done, err := datadir.Rewrap(t.Context(), testConfig(t, dir), testConfig(t, dir, "--key-file="+newKey))
	if err != nil {
		t.Fatal(err)
	}
	if done.NewKeyFile != newKey || done.Before.KeyID == done.After.KeyID || done.After.Kind != seal.KindKeyFile {
		t.Errorf("done %+v", done)
	}
	for _, d := range differences(before, snapshot(t, dir)) {
		if !strings.HasPrefix(d, "/keyset.json was") && !strings.HasPrefix(d, "/keyset.json.previous is new") && !strings.HasPrefix(d, " was") {
			t.Errorf("changed: %s", d)
		}
	}
	refused(t, dir, "wrong key-encryption key")
	again := start(t, dir, "--key-file="+newKey)
	again.token, again.org = ts.token, ts.org
	if got := again.values(t); got[secretName] != secretValue {
		t.Errorf("values are %v", got)
	}
	if _, err := datadir.Rewrap(t.Context(), testConfig(t, dir, "--key-file="+newKey), testConfig(t, dir)); !errors.Is(err, datadir.ErrLocked) {
		t.Errorf("while a server runs: %v", err)
	}
}

// TestRewrapFails checks that a failed rewrap leaves the folder unchanged, and no
// unused key file.
func TestRewrapFails(t *testing.T) {
	newKey := filepath.Join(t.TempDir(), "new.key")
	weak := filepath.Join(t.TempDir(), "passphrase")
	write(t, weak, "a passphrase that anybody can read\n")
	chmod(t, weak, 0o644)
	for _, tt := range []struct {
		name   string
		from   []string
		to     []string
		spoil  func(dir string)
		reason string
	}{
		{"wrong key", []string{"--passphrase-file=" + weak}, []string{"--key-file=" + newKey}, nil, "accessible to other users"},
		{"new key unusable", nil, []string{"--passphrase-file=" + weak}, nil, "accessible to other users"},
		{"keyset can't be written", nil, []string{"--key-file=" + newKey}, func(dir string) { mkdir(t, filepath.Join(dir, "keyset.json.new", "full")) }, "write the keyset"},
		{"keyset damaged", nil, []string{"--key-file=" + newKey}, func(dir string) { flip(t, filepath.Join(dir, "keyset.json")) }, "keyset.json"},
		{"no data", nil, []string{"--key-file=" + newKey}, func(dir string) { removeAll(t, dir) }, "holds no data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, _ := wholeFolder(t)
			if tt.spoil != nil {
				tt.spoil(dir)
			}
			before := snapshot(t, dir)
			_, err := datadir.Rewrap(t.Context(), testConfig(t, dir, tt.from...), testConfig(t, dir, tt.to...))
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("error %v, want one with %q", err, tt.reason)
			}
			for _, d := range differences(before, snapshot(t, dir)) {
				if !strings.HasPrefix(d, " was") {
					t.Errorf("changed: %s", d)
				}
			}
			if _, err := os.Stat(newKey); !os.IsNotExist(err) {
				t.Errorf("the new key file was left: %v", err)
			}
		})
	}
}

// TestRotationSurvivesRestart checks that the next start finds the keyset that a
// rotation saved, wrapped with the same key-encryption key.
func TestRotationSurvivesRestart(t *testing.T) {
	dir, ts := wholeFolder(t)
	first := start(t, dir)
	first.token, first.org = ts.token, ts.org
	if a := first.do(t, "POST", keysPath+"/rotate", ""); a.status != 202 {
		t.Fatalf("rotate: %d %s", a.status, a.body)
	}
	first.stop(t)
	again := start(t, dir)
	again.token, again.org = ts.token, ts.org
	eventually(t, "the end of the rotation", func() bool {
		return strings.Contains(again.do(t, "GET", keysPath, "").body, `"rotating": false`)
	})
	if got := again.values(t); got[secretName] != secretValue {
		t.Errorf("values are %v", got)
	}
	again.stop(t)
	if _, err := datadir.Check(t.Context(), testConfig(t, dir), failOnDamage(t)); err != nil {
		t.Error(err)
	}
}
