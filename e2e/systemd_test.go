package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
)

const units = "../examples/systemd/"

// unit has the settings of a unit file that a test can carry out without systemd.
type unit struct {
	credentials map[string]string // path by name
	environment []string
	start       []string
}

// readUnit reads a unit. Specifiers become the folders of the test.
func readUnit(t *testing.T, name, credentials, state string) unit {
	t.Helper()
	u := unit{credentials: map[string]string{}}
	for line := range strings.Lines(readText(t, units+name)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.NewReplacer("%d", credentials, "%S", state).Replace(value)
		switch key {
		case "LoadCredential":
			id, path, _ := strings.Cut(value, ":")
			u.credentials[id] = path
		case "Environment":
			u.environment = append(u.environment, value)
		case "ExecStart":
			u.start = strings.Fields(value)
		}
	}
	return u
}

// TestSystemdUnits runs the commands of the units, with the credentials that they ask for.
func TestSystemdUnits(t *testing.T) {
	s := startSetUp(t)
	value := s.private("value")
	s.set(map[string]string{"influx_token": value, s.secretName("other"): value})
	reader := s.newToken(client.Read)
	bin := t.TempDir()
	script := "#!/bin/sh\necho \"$influx_token $*\"\nenv | grep -c " + s.secrets.name + " || true\n"
	if err := os.WriteFile(filepath.Join(bin, "telegraf"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(name, token string) (out, state string) {
		t.Helper()
		credentials, state := t.TempDir(), t.TempDir()
		u := readUnit(t, name, credentials, state)
		if len(u.credentials) != 1 || u.credentials["profile"] == "" {
			t.Fatalf("%s has the credentials %q", name, u.credentials)
		}
		profile := fmt.Sprintf("[default]\n  url = %q\n  token = %q\n  org = %q\n  active = true\n", s.url, token, s.org)
		if err := os.WriteFile(filepath.Join(credentials, "profile"), []byte(profile), 0o400); err != nil {
			t.Fatal(err)
		}
		line := strings.Join(u.start, " ")
		// With --watch, it would run until it is stopped.
		line = strings.NewReplacer("/usr/bin/fluxkeep", program, "/usr/bin/telegraf", filepath.Join(bin, "telegraf"), "--watch restart ", "").Replace(line)
		args := strings.Fields(line)
		cmd := command(t, t.TempDir(), args[0], args[1:]...)
		cmd.Env = append(cmd.Env, u.environment...)
		return output(t, cmd), state
	}
	out, _ := run("telegraf.conf", reader.Token)
	if want := value + " --config /etc/telegraf/telegraf.conf\n0\n"; out != want {
		t.Errorf("Telegraf gets %q, want %q", out, want)
	}
	_, state := run("fluxkeep-backup.service", s.token)
	if backups, err := filepath.Glob(filepath.Join(state, "fluxkeep-backups", "fluxkeep-*.backup")); err != nil || len(backups) != 1 {
		t.Errorf("the backups are %q, %v", backups, err)
	}
}

// TestSystemdVerifies: systemd accepts the units, and the drop-ins with units that
// they are for.
func TestSystemdVerifies(t *testing.T) {
	analyze := find(t, "systemd-analyze")
	dir := t.TempDir()
	for from, to := range map[string]string{
		units + "fluxkeep-backup.service": "fluxkeep-backup.service", units + "fluxkeep-backup.timer": "fluxkeep-backup.timer",
		units + "telegraf.conf": "telegraf.service.d/fluxkeep.conf", units + "key.conf": "fluxkeep.service.d/key.conf",
		"../packaging/files/fluxkeep.service": "fluxkeep.service", "": "telegraf.service",
	} {
		text := "[Service]\nExecStart=/usr/bin/telegraf\n"
		if from != "" {
			text = readText(t, from)
		}
		text = strings.NewReplacer("/usr/bin/fluxkeep", program, "/usr/bin/telegraf", program).Replace(text)
		path := filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"fluxkeep.service", "telegraf.service", "fluxkeep-backup.service", "fluxkeep-backup.timer"} {
		cmd := exec.Command(analyze, "verify", "--man=no", "--generators=no", name)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		out, err := cmd.CombinedOutput()
		// What it says of the system's own units is not about these.
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, dir) || strings.Contains(line, strings.TrimSuffix(name, filepath.Ext(name))) {
				t.Errorf("%s: %s", name, line)
			}
		}
		if err != nil {
			t.Logf("%s: %v\n%s", name, err, out)
		}
	}
}
