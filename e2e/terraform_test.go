package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const vaultProviderVersion = "1.9.0" // as in terraform/go.mod

// vaultProvider returns a folder from which "terraform init" installs Terraform's Vault
// provider, which the module terraform pins.
func vaultProvider(t testing.TB) string {
	t.Helper()
	return installed(t, "terraform-provider-vault-"+keyOf(t, "", "terraform/go.mod", "terraform/go.sum"), func(dir string) error {
		path := filepath.Join(dir, "registry.terraform.io/hashicorp/vault", vaultProviderVersion, runtime.GOOS+"_"+runtime.GOARCH,
			"terraform-provider-vault_v"+vaultProviderVersion)
		return installer("terraform", "env", "CGO_ENABLED=0", "GOWORK=off", "go", "build", "-ldflags=-s -w", "-o", path,
			"github.com/terraform-providers/terraform-provider-vault")
	})
}

// TestTerraformProvider runs Terraform with its Vault provider: it writes and reads
// secrets, notices a change that was made elsewhere, and destroys what it created. The
// provider is old, and built with a newer Terraform SDK than its own, because Terraform
// no longer speaks its protocol; TestTerraform sends the requests of a current one.
func TestTerraformProvider(t *testing.T) {
	t.Parallel()
	nightly(t, "Terraform")
	program, mirror := goProgram(t, "github.com/hashicorp/terraform", "v1.5.7"), vaultProvider(t)
	s := startSetUp(t)
	name, other := s.secretName("db_password"), s.secretName("mqtt_password")
	read, written, changed := s.private("1"), s.private("2"), s.private("3")
	s.set(map[string]string{name: read})
	devices, err := s.operator().CreateOrganization(t.Context(), s.private("devices"), "")
	if err != nil {
		t.Fatal(err)
	}

	config, err := os.ReadFile("testdata/terraform/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("secret/acme", "secret/"+s.org, `["db_password"]`, `["`+name+`"]`,
		"secret/devices", "secret/"+devices.Name, "mqtt_password =", other+" =").Replace(string(config))
	folder := t.TempDir()
	cli := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror)
	for path, content := range map[string]string{"main.tf": text, "cli.tfrc": cli} {
		if err := os.WriteFile(filepath.Join(folder, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	terraform := func(args ...string) *exec.Cmd {
		cmd := command(t, s.home, program, args...)
		cmd.Dir = folder
		cmd.Env = append(cmd.Env, "TF_CLI_CONFIG_FILE="+filepath.Join(folder, "cli.tfrc"), "TF_IN_AUTOMATION=1",
			"TF_VAR_mqtt_password="+written, "VAULT_ADDR="+s.url, "VAULT_TOKEN="+s.token)
		return cmd
	}
	want := func(secrets map[string]string) {
		t.Helper()
		got, _, err := s.operator().Values(t.Context(), devices.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got.Secrets, secrets) {
			t.Errorf("the secrets are %q, want %q", got.Secrets, secrets)
		}
	}
	// plan returns the exit status: 0 without differences, 2 with some.
	plan := func() (int, string) {
		t.Helper()
		cmd := terraform("plan", "-input=false", "-no-color", "-detailed-exitcode")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}

	output(t, terraform("init", "-input=false", "-no-color"))
	if out := output(t, terraform("apply", "-input=false", "-no-color", "-auto-approve")); strings.Contains(out, read) || strings.Contains(out, written) {
		t.Errorf("apply prints a value: %s", out)
	}
	want(map[string]string{other: written})
	if got := output(t, terraform("output", "-raw", "db_password")); got != read {
		t.Errorf("the data source read %q, want %q", got, read)
	}
	if status, out := plan(); status != 0 {
		t.Errorf("plan after apply: status %d\n%s", status, out)
	}

	if _, err := s.operator().WriteValues(t.Context(), devices.ID, map[string]*string{other: &changed}, nil); err != nil {
		t.Fatal(err)
	}
	if status, out := plan(); status != 2 || !strings.Contains(out, "vault_generic_secret.devices will be updated") {
		t.Errorf("plan after a change elsewhere: status %d\n%s", status, out)
	}
	output(t, terraform("apply", "-input=false", "-no-color", "-auto-approve"))
	want(map[string]string{other: written})

	output(t, terraform("destroy", "-input=false", "-no-color", "-auto-approve"))
	want(map[string]string{})
	s.wantValues(map[string]string{name: read})
}
