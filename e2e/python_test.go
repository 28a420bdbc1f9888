package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
)

// TestPythonClient runs InfluxDB's Python client.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	interpreter, packages := python(t, "python")
	s := start(t)
	s.runScript(s.pythonScript(interpreter, packages, "influx.py"), 11)
}

// TestHVAC runs hvac, Vault's Python client.
func TestHVAC(t *testing.T) {
	t.Parallel()
	interpreter, packages := python(t, "python")
	s := startSetUp(t)
	reader := s.newToken(client.Read)
	cmd := s.pythonScript(interpreter, packages, "vault.py")
	cmd.Env = append(cmd.Env, "E2E_ORG="+s.orgID, "E2E_ORG_NAME="+s.org, "E2E_TOKEN="+s.token,
		"E2E_READER_ID="+reader.ID, "E2E_READER="+reader.Token)
	s.runScript(cmd, 14)
}

func (s *server) pythonScript(interpreter, packages, name string) *exec.Cmd {
	s.t.Helper()
	cmd := command(s.t, s.home, interpreter, s.script("python", name))
	cmd.Env = append(cmd.Env, "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

func (s *server) script(folder, name string) string {
	s.t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", folder, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return path
}

// runScript runs a script of testdata, which prints a line for each of its steps.
// The script gets the names and values to use, and prints the tokens that it
// receives.
func (s *server) runScript(cmd *exec.Cmd, steps int) {
	s.t.Helper()
	tokens := filepath.Join(s.t.TempDir(), "tokens")
	cmd.Env = append(cmd.Env, "E2E_URL="+s.url, "E2E_NAME="+s.secrets.name, "E2E_PRIVATE="+s.secrets.other, "E2E_TOKENS="+tokens)
	out, err := cmd.CombinedOutput()
	s.t.Logf("%s\n%s", strings.Join(cmd.Args, " "), out)
	if err != nil {
		s.t.Errorf("%s: %v", filepath.Base(cmd.Args[1]), err)
	}
	if n := strings.Count("\n"+string(out), "\nok "); n != steps {
		s.t.Errorf("%d steps are done, want %d", n, steps)
	}
	got, err := os.ReadFile(tokens)
	if err != nil {
		s.t.Fatal(err)
	}
	for token := range strings.FieldsSeq(string(got)) {
		s.confide(token)
	}
}
