package e2e

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
)

// nightly skips a test whose program takes minutes to install, unless
// FLUXKEEP_E2E_NIGHTLY is set.
func nightly(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("FLUXKEEP_E2E_NIGHTLY") == "" {
		t.Skipf("installing %s takes minutes; set FLUXKEEP_E2E_NIGHTLY=1", what)
	}
}

// goProgram returns a program of another project, built by "go install".
func goProgram(t testing.TB, pkg, version string) string {
	t.Helper()
	name := path.Base(pkg)
	dir := installed(t, name+"-"+version, func(dir string) error {
		return installer(dir, "env", "GOBIN="+dir, "CGO_ENABLED=0", "GOWORK=off", "go", "install", pkg+"@"+version)
	})
	return filepath.Join(dir, name)
}

// TestConsulTemplate renders a template, as an operator by name and with an AppRole
// login's token, which consul-template renews, by ID.
func TestConsulTemplate(t *testing.T) {
	t.Parallel()
	nightly(t, "consul-template")
	program := goProgram(t, "github.com/hashicorp/consul-template", "v0.41.1")
	s := startSetUp(t)
	name, value := s.secretName("db"), s.private("pw")
	s.set(map[string]string{name: value})
	reader := s.newToken(client.Read)
	login, err := s.vault("").Logical().WriteWithContext(t.Context(), "auth/approle/login", map[string]any{"role_id": reader.ID, "secret_id": reader.Token})
	if err != nil {
		t.Fatal(err)
	}
	s.confide(login.Auth.ClientToken)
	for _, c := range []struct{ org, token string }{{s.org, s.token}, {s.orgID, login.Auth.ClientToken}} {
		template := filepath.Join(t.TempDir(), "in.tmpl")
		text := `{{ with secret "secret/data/` + c.org + `" }}value={{ index .Data.data "` + name + `" }}{{ end }}
{{ range secrets "secret/metadata/" }}listed={{ . }}{{ end }}`
		if err := os.WriteFile(template, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, s.home, program, "-once", "-dry", "-vault-addr", s.url, "-template", template)
		cmd.Env = append(cmd.Env, "VAULT_TOKEN="+c.token)
		out := output(t, cmd)
		if !strings.Contains(out, "value="+value) || !strings.Contains(out, "listed="+s.org) {
			t.Errorf("%s renders %q", c.org, out)
		}
	}
}

// valsProgram returns the program of the module vals.
func valsProgram(t testing.TB) string {
	t.Helper()
	dir := installed(t, "vals-"+keyOf(t, "", "vals/go.mod", "vals/go.sum", "vals/main.go"), func(dir string) error {
		return installer("vals", "env", "CGO_ENABLED=0", "GOWORK=off", "go", "build", "-o", filepath.Join(dir, "vals"), ".")
	})
	return filepath.Join(dir, "vals")
}

// TestVals reads values with vals' Vault provider, by token and by AppRole, which
// finds out by itself that the engine has versions.
func TestVals(t *testing.T) {
	t.Parallel()
	program := valsProgram(t)
	s := startSetUp(t)
	a, b := s.secretName("a"), s.secretName("b")
	s.set(map[string]string{a: s.private("1"), b: s.private("2")})
	want := s.private("1") + "\n" + s.private("2") + "\n"
	reader := s.newToken(client.Read)
	for method, env := range map[string][]string{
		"token":   {"VAULT_TOKEN=" + s.token},
		"approle": {"VAULT_AUTH_METHOD=approle", "VAULT_ROLE_ID=" + reader.ID, "VAULT_SECRET_ID=" + reader.Token},
	} {
		for _, org := range []string{s.org, s.orgID} {
			cmd := command(t, s.home, program, "secret/"+org+"/"+a, "secret/"+org+"/"+b)
			cmd.Env = append(append(cmd.Env, "VAULT_ADDR="+s.url), env...)
			if got := output(t, cmd); got != want {
				t.Errorf("%s, %s: %q, want %q", method, org, got, want)
			}
		}
	}
}

// TestAnsible runs the lookups of Ansible's collection for Vault, and the example.
func TestAnsible(t *testing.T) {
	t.Parallel()
	nightly(t, "Ansible")
	interpreter, packages := python(t, "ansible")
	s := startSetUp(t)
	key, value := s.secretName("db"), s.private("pw")
	s.set(map[string]string{key: value})
	reader := s.newToken(client.Read)
	play := func(args ...string) string {
		t.Helper()
		cmd := command(t, s.home, interpreter, append([]string{"-m", "ansible", "playbook"}, args...)...)
		cmd.Env = append(cmd.Env, "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1", "LC_ALL=C.UTF-8", "ANSIBLE_LOCALHOST_WARNING=False",
			"VAULT_ADDR="+s.url, "VAULT_TOKEN="+s.token, "E2E_ORG="+s.orgID, "E2E_ORG_NAME="+s.org, "E2E_KEY="+key, "E2E_VALUE="+value,
			"E2E_READER_ID="+reader.ID, "E2E_READER="+reader.Token)
		return output(t, cmd)
	}
	out := play(s.script("ansible", "play.yml"))
	if n := strings.Count(out, "ok: [localhost]"); n != 5 {
		t.Errorf("%d tasks are done, want 5: %s", n, out)
	}
	example, err := filepath.Abs(examples + "ansible/play.yml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "app.conf")
	out = play(example, "-e", "org="+s.org, "-e", "key="+key, "-e", "path="+path)
	if got := readText(t, path); got != "password = "+value+"\n" || strings.Contains(out, value) {
		t.Errorf("the configuration is %q: %s", got, out)
	}
}
