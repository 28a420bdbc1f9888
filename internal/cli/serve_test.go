package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
	"github.com/spf13/pflag"
)

func runServe(ctx context.Context, w io.Writer, args ...string) error {
	root := NewRootCommand()
	root.SetArgs(append([]string{"serve"}, args...))
	root.SetOut(io.Discard)
	root.SetErr(w)
	return root.ExecuteContext(ctx)
}

// The server needs only a data folder, prints its address, and stops without an error.
func TestServe(t *testing.T) {
	t.Setenv("FLUXKEEP_AUDIT_FLIE", "misspelt-value")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := new(logtest.Log)
	ended := make(chan error, 1)
	go func() {
		ended <- runServe(ctx, log, "--data-dir", filepath.Join(t.TempDir(), "data"), "--http-bind-address", "127.0.0.1:0")
	}()
	for end := time.Now().Add(time.Minute); !strings.Contains(log.String(), "msg=listening"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not listen: %s", log)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if !strings.Contains(log.String(), "version="+readVersion().Version) {
		t.Errorf("it does not say which version it is: %s", log)
	}
	if s := log.String(); strings.Count(s, "no such setting") != 1 || !strings.Contains(s, "FLUXKEEP_AUDIT_FLIE") || strings.Contains(s, "misspelt-value") {
		t.Errorf("it does not warn of a variable that is misspelt, by its name alone: %s", s)
	}
}

func TestServeErrors(t *testing.T) {
	foreign := t.TempDir()
	config := filepath.Join(t.TempDir(), "fluxkeep.toml")
	for path, text := range map[string]string{
		filepath.Join(foreign, "letters.txt"): "hello", config: "log-level = \"info\"\nlog-levle = \"info\"\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"unknown flag", nil, []string{"--nonsense"}, "unknown flag: --nonsense"},
		{"an argument", nil, []string{"now"}, `unexpected argument "now"`},
		{"wrong flag", nil, []string{"--audit-names=none"}, "must be plain or hashed"},
		{"wrong variable", map[string]string{"FLUXKEEP_LOG_LEVEL": "loud"}, nil, "FLUXKEEP_LOG_LEVEL must be"},
		{"wrong file", nil, []string{"--config", config}, `fluxkeep.toml:2: there is no setting "log-levle"`},
		{"wrong file in a variable", map[string]string{"FLUXKEEP_CONFIG": config}, nil, `fluxkeep.toml:2: there is no setting "log-levle"`},
		{"another's folder", nil, []string{"--data-dir", foreign}, "no data folder of Fluxkeep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			log := new(logtest.Log)
			err := runServe(t.Context(), log, append([]string{"--http-bind-address=127.0.0.1:0"}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %s", err, tt.want)
			}
			if log.String() != "" {
				t.Errorf("it wrote %q in addition to its error", log)
			}
		})
	}
}

// Every setting is a flag with a description.
func TestServeFlags(t *testing.T) {
	cmd := newServeCommand()
	config.New().Flags().VisitAll(func(f *pflag.Flag) {
		flag := cmd.Flags().Lookup(f.Name)
		if flag == nil {
			t.Errorf("--%s is missing", f.Name)
		} else if flag.Usage == "" {
			t.Errorf("--%s has no description", f.Name)
		}
	})
}
