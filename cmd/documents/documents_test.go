package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/spf13/pflag"
)

// loaded returns the settings that a file makes.
func loaded(t *testing.T, text []byte) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fluxkeep.toml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.New()
	if err := c.Flags().Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(nil); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return c
}

// TestSettingsFile: the packages' configuration file has every setting once. It can be
// used as it is, and what its comments show are the defaults.
func TestSettingsFile(t *testing.T) {
	text := settingsFile(config.New().Flags())
	c := loaded(t, text)
	if c.BindAddress != "127.0.0.1:8087" || c.DataDir != "/var/lib/fluxkeep" || c.Key.File != "/etc/fluxkeep/key" {
		t.Errorf("it listens at %s, data is in %s, and the key in %s", c.BindAddress, c.DataDir, c.Key.File)
	}
	all := loaded(t, regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAll(text, []byte("$1")))
	fresh := config.New()
	if err := fresh.Flags().Parse([]string{"--http-bind-address=127.0.0.1:8087", "--data-dir=/var/lib/fluxkeep", "--key-file=/etc/fluxkeep/key"}); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Load(nil); err != nil {
		t.Fatal(err)
	}
	all.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" {
			return
		}
		if n := len(regexp.MustCompile(`(?m)^#?`+f.Name+` = `).FindAll(text, -1)); n != 1 {
			t.Errorf("%s is there %d times", f.Name, n)
		}
		if got, want := f.Value.String(), fresh.Flags().Lookup(f.Name).Value.String(); got != want {
			t.Errorf("%s is shown as %q, and is %q", f.Name, got, want)
		}
	})
	for line := range strings.Lines(string(text)) {
		if len(strings.TrimSpace(line)) > 100 {
			t.Errorf("a long line: %s", line)
		}
	}
}

// TestManuals: each command has a page, which says what its help says.
func TestManuals(t *testing.T) {
	files, err := documents("1.2.3", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 45 {
		t.Errorf("there are only %d files", len(files))
	}
	page := files["man/fluxkeep-health.1"]
	for _, want := range []string{`.TH "FLUXKEEP-HEALTH" "1" "Jan 2026" "Fluxkeep 1.2.3" "Fluxkeep"`, "status 0 if it is", "fluxkeep(1)", `--timeout`} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page of health lacks %q:\n%s", want, page)
		}
	}
}
