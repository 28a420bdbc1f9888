package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// maxProgram limits the size of the program: 35 MiB.
const maxProgram = 35 << 20

func TestProgramSize(t *testing.T) {
	info, err := os.Stat(built(t).path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the program has %.1f MiB", float64(info.Size())/(1<<20))
	if info.Size() > maxProgram {
		t.Errorf("the program has %d bytes, more than %d; go tool nm -size -sort size shows what is large", info.Size(), maxProgram)
	}
}

// TestArchive: the archive has the program and its documents, in one folder.
func TestArchive(t *testing.T) {
	archive := one(t, packed(t, "1.2.3"), "*-"+host.String()+".tar.gz")
	dir := t.TempDir()
	must(t, "tar", "-C", dir, "-xf", archive)
	top := one(t, dir, "*")
	if want := "fluxkeep-1.2.3-" + host.String(); filepath.Base(top) != want {
		t.Errorf("the folder is %s, want %s", filepath.Base(top), want)
	}
	for _, name := range []string{
		"LICENSE", "README.md", "CHANGELOG.md", "man/fluxkeep.1", "man/fluxkeep-secret-set.1",
		"completions/fluxkeep.bash", "completions/_fluxkeep", "completions/fluxkeep.fish", "completions/fluxkeep.ps1",
	} {
		if info, err := os.Stat(filepath.Join(top, name)); err != nil || info.Size() < 500 || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if out := must(t, filepath.Join(top, "fluxkeep"), "version"); !strings.HasPrefix(out, "fluxkeep ") {
		t.Errorf("the program says %q", out)
	}
}

// TestParts: the list of parts names the modules that the program is made of.
func TestParts(t *testing.T) {
	b, err := os.ReadFile(one(t, packed(t, "1.2.3"), "*-cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(b, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Version != "v1.2.3" || len(bom.Components) < 20 {
		t.Errorf("it has %d parts: %+v", len(bom.Components), bom.Metadata)
	}
	for _, c := range bom.Components {
		if c.PURL != "pkg:golang/"+c.Name+"@"+c.Version || c.Version == "" {
			t.Errorf("%+v is no module", c)
		}
	}
}

// TestUnitIsHardened: the score of "systemd-analyze security" is at most 2.0.
func TestUnitIsHardened(t *testing.T) {
	analyze := find(t, "systemd-analyze")
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=20", "files/fluxkeep.service").CombinedOutput()
	score := regexp.MustCompile(`Overall exposure level for fluxkeep.service: ([0-9.]+)`).FindSubmatch(out)
	if score == nil {
		unavailable(t, "systemd-analyze can't rate a unit here: %v\n%s", err, out)
	}
	t.Logf("the score is %s", score[1])
	if rated, perr := strconv.ParseFloat(string(score[1]), 64); err != nil || perr != nil || rated > 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

// installation is a Debian system with the package.
type installation struct {
	t    testing.TB
	root string
	home string // of clients
}

// newInstallation makes a system with a systemctl that only writes down what it is
// told: there is no systemd in a chroot.
func newInstallation(t testing.TB) *installation {
	t.Helper()
	i := &installation{t, debian(t), t.TempDir()}
	for _, dir := range []string{"run/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(i.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\necho \"$@\" >>/run/systemctl\n"
	if err := os.WriteFile(filepath.Join(i.root, "usr/bin/systemctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return i
}

// run runs a command in the root.
func (i *installation) run(name string, args ...string) string {
	i.t.Helper()
	return must(i.t, "chroot", append([]string{i.root, name}, args...)...)
}

// add copies a package into the root, and returns its name there.
func (i *installation) add(path string) string {
	i.t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(i.root, filepath.Base(path)), content, 0o644)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	return "/" + filepath.Base(path)
}

// systemctl returns what systemctl was told since the last call.
func (i *installation) systemctl() []string {
	i.t.Helper()
	path := filepath.Join(i.root, "run/systemctl")
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		i.t.Fatal(err)
	}
	_ = os.Remove(path) // which may not be there
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func (i *installation) wantSystemctl(want ...string) {
	i.t.Helper()
	if got := i.systemctl(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		i.t.Errorf("systemctl was told %q, want %q", got, want)
	}
}

// serve starts the server as the unit does.
func (i *installation) serve() *served {
	i.t.Helper()
	return serve(i.t, func(address string) *exec.Cmd {
		cmd := exec.Command("chroot", "--userspec=fluxkeep:fluxkeep", i.root, "/usr/bin/env", "FLUXKEEP_HTTP_BIND_ADDRESS="+address,
			"/usr/bin/fluxkeep", "serve", "--config", "/etc/fluxkeep/fluxkeep.toml")
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		return cmd
	})
}

// mode returns the owner and the permissions of a file.
func (i *installation) mode(path string) string {
	i.t.Helper()
	return strings.TrimSpace(i.run("stat", "-c", "%U:%G %a", path))
}

func (i *installation) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(i.root, path))
	return err == nil
}

func (i *installation) read(path string) []byte {
	i.t.Helper()
	content, err := os.ReadFile(filepath.Join(i.root, path))
	if err != nil {
		i.t.Fatal(err)
	}
	return content
}

// firstSecret sets the server up and stores a secret.
func (i *installation) firstSecret(s *served) {
	i.t.Helper()
	client(i.t, s, i.home, "correct horse battery", "setup", "--username", "admin", "--org", "acme")
	client(i.t, s, i.home, "s3cret", "secret", "set", "db_password")
}

func (i *installation) wantSecret(s *served) {
	i.t.Helper()
	configs := filepath.Join(i.home, ".influxdbv2", "configs")
	text, err := os.ReadFile(configs)
	if err != nil {
		i.t.Fatal(err)
	}
	token := regexp.MustCompile(`token = "(.*)"`).FindSubmatch(text)
	if token == nil {
		i.t.Fatalf("there is no token in %s", configs)
	}
	if got := client(i.t, s, i.home, "", "secret", "get", "db_password", "--org", "acme", "--token", string(token[1])); got != "s3cret" {
		i.t.Errorf("the secret is %q", got)
	}
}

const (
	keyPath   = "/etc/fluxkeep/key"
	dataPath  = "/var/lib/fluxkeep"
	tomlPath  = "/etc/fluxkeep/fluxkeep.toml"
	startText = "set the server up with"
)

// TestDebianPackage installs, upgrades, removes and purges the package as its user
// would. Key and data outlive all of it.
func TestDebianPackage(t *testing.T) {
	find(t, "dpkg")
	old, current := one(t, packed(t, "1.2.2"), "*.deb"), one(t, packed(t, "1.2.3"), "*.deb")
	i := newInstallation(t)

	begin := time.Now()
	out := i.run("dpkg", "-i", i.add(old))
	if !strings.Contains(out, startText) || !strings.Contains(out, "keep a copy") {
		t.Errorf("it says only:\n%s", out)
	}
	i.wantSystemctl("daemon-reload", "enable fluxkeep.service", "is-enabled --quiet fluxkeep.service", "restart fluxkeep.service")
	for path, want := range map[string]string{
		keyPath: "fluxkeep:fluxkeep 400", dataPath: "fluxkeep:fluxkeep 700", tomlPath: "root:root 644",
		"/usr/bin/fluxkeep": "root:root 755", "/usr/lib/systemd/system/fluxkeep.service": "root:root 644",
	} {
		if got := i.mode(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"/usr/share/man/man1/fluxkeep-serve.1.gz", "/usr/share/bash-completion/completions/fluxkeep", "/etc/logrotate.d/fluxkeep", "/usr/share/doc/fluxkeep/copyright"} {
		if !i.exists(path) && !strings.HasPrefix(path, "/usr/share/doc") { // which Debian's images may leave out
			t.Errorf("%s is missing", path)
		}
	}
	s := i.serve()
	i.firstSecret(s)
	t.Logf("from dpkg to the first secret: %v", time.Since(begin).Round(time.Millisecond))
	s.stop(t)
	key := i.read(keyPath)
	changed := append(i.read(tomlPath), "log-format = \"json\"\n"...)
	if err := os.WriteFile(filepath.Join(i.root, tomlPath), changed, 0o644); err != nil {
		t.Fatal(err)
	}

	kept := func(when string) {
		t.Helper()
		if !bytes.Equal(i.read(keyPath), key) || !i.exists(dataPath+"/keyset.json") {
			t.Fatalf("%s: key or data are not what they were", when)
		}
	}
	out = i.run("dpkg", "-i", i.add(current))
	if strings.Contains(out, startText) || strings.Contains(out, "keep a copy") {
		t.Errorf("an upgrade says:\n%s", out)
	}
	i.wantSystemctl("daemon-reload", "is-enabled --quiet fluxkeep.service", "restart fluxkeep.service")
	kept("upgrade")
	if !bytes.Equal(i.read(tomlPath), changed) {
		t.Errorf("the upgrade changed the settings")
	}
	s = i.serve()
	i.wantSecret(s)
	if !strings.Contains(s.log.String(), `"msg":"listening"`) {
		t.Errorf("the changed setting has no effect: %s", s.log)
	}
	s.stop(t)

	i.run("dpkg", "-r", "fluxkeep")
	i.wantSystemctl("stop fluxkeep.service", "daemon-reload")
	kept("removal")
	if i.exists("/usr/bin/fluxkeep") || !bytes.Equal(i.read(tomlPath), changed) {
		t.Error("after a removal, the program is there or the settings are not")
	}

	i.run("dpkg", "-i", i.add(current))
	s = i.serve()
	i.wantSecret(s)
	s.stop(t)

	i.systemctl()
	out = i.run("dpkg", "--purge", "fluxkeep")
	kept("purge")
	for _, path := range []string{keyPath, dataPath} {
		if !strings.Contains(out, path+" is still there") {
			t.Errorf("a purge does not say that %s is still there:\n%s", path, out)
		}
	}
	if i.exists(tomlPath) || i.exists("/etc/logrotate.d/fluxkeep") {
		t.Error("a purge leaves settings")
	}
}

// TestNoNewKeyForOldData: without its key, old data doesn't get a new one, which
// would hide what is wrong.
func TestNoNewKeyForOldData(t *testing.T) {
	deb := one(t, packed(t, "1.2.3"), "*.deb")
	i := newInstallation(t)
	i.run("mkdir", "-m", "700", dataPath)
	i.run("touch", dataPath+"/keyset.json")
	i.run("dpkg", "-i", i.add(deb))
	if i.exists(keyPath) {
		t.Error("it made a key")
	}
}

// TestRPM installs, upgrades and removes the package with rpm, in a root where its
// scripts run. It is Debian's, so the dependencies have other names.
func TestRPM(t *testing.T) {
	rpm := find(t, "rpm")
	old, current := one(t, packed(t, "1.2.2"), "*.rpm"), one(t, packed(t, "1.2.3"), "*.rpm")
	if list := must(t, rpm, "-qp", "--queryformat", "%{NAME} %{VERSION} %{ARCH} %{LICENSE} %{BUILDHOST}", current); !strings.HasPrefix(list, "fluxkeep 1.2.3 ") || !strings.HasSuffix(list, " MIT localhost") {
		t.Errorf("it is %q", list)
	}
	if list := must(t, rpm, "-qpc", current); strings.Join(strings.Fields(list), " ") != "/etc/fluxkeep/fluxkeep.toml /etc/logrotate.d/fluxkeep" {
		t.Errorf("its configuration files are %q", list)
	}
	i := newInstallation(t)
	in := func(args ...string) string {
		t.Helper()
		return must(t, rpm, append([]string{"--root", i.root, "--dbpath", "/var/lib/rpm", "--nodeps"}, args...)...)
	}
	if out := in("-i", "--ignorearch", old); !strings.Contains(out, startText) {
		t.Errorf("it says only:\n%s", out)
	}
	i.wantSystemctl("daemon-reload", "enable fluxkeep.service", "is-enabled --quiet fluxkeep.service", "restart fluxkeep.service")
	if got := i.mode(keyPath); got != "fluxkeep:fluxkeep 400" {
		t.Errorf("the key is %s", got)
	}
	s := i.serve()
	i.firstSecret(s)
	s.stop(t)
	key := i.read(keyPath)
	in("-U", "--ignorearch", current)
	i.wantSystemctl("daemon-reload", "is-enabled --quiet fluxkeep.service", "restart fluxkeep.service")
	s = i.serve()
	i.wantSecret(s)
	s.stop(t)
	out := in("-e", "fluxkeep")
	i.wantSystemctl("stop fluxkeep.service", "daemon-reload")
	if !bytes.Equal(i.read(keyPath), key) || !i.exists(dataPath+"/keyset.json") || i.exists("/usr/bin/fluxkeep") {
		t.Error("after a removal, key and data must be there, and the program not")
	}
	if !strings.Contains(out, keyPath+" is still there") {
		t.Errorf("it does not say where the key is:\n%s", out)
	}
}

// TestLogrotate: the rotated audit log is moved away, and stays.
func TestLogrotate(t *testing.T) {
	logrotate := find(t, "logrotate")
	config, err := os.ReadFile("files/fluxkeep.logrotate")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	signaled := filepath.Join(dir, "signaled")
	text := strings.NewReplacer("/var/lib/fluxkeep", dir, "su fluxkeep fluxkeep", "su root root", "systemctl kill --signal=HUP --kill-who=main fluxkeep.service", "touch "+signaled).Replace(string(config))
	if os.Getuid() != 0 {
		text = strings.Replace(text, "su root root", "", 1)
	}
	for name, content := range map[string]string{"config": text, "audit.log": "a line\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must(t, logrotate, "--force", "--state", filepath.Join(dir, "state"), filepath.Join(dir, "config"))
	if content, err := os.ReadFile(one(t, dir, "audit.log-*")); err != nil || string(content) != "a line\n" {
		t.Errorf("the old log is %q, %v", content, err)
	}
	for path, want := range map[string]bool{filepath.Join(dir, "audit.log"): false, signaled: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSameBytes: the same program packed twice makes the same files.
func TestSameBytes(t *testing.T) {
	sums := func(dist string) []byte {
		b, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	once, again := packed(t, "1.2.3"), t.TempDir()
	if err := pack(again, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	if a, b := sums(once), sums(again); !bytes.Equal(a, b) || bytes.Count(a, []byte("\n")) != 5 {
		t.Errorf("one is\n%sthe other\n%s", a, b)
	}
}

// chosenTargets returns the targets that FLUXKEEP_RELEASE names, or all. Building
// for them takes long, so the test is skipped without it.
func chosenTargets(t testing.TB) []target {
	t.Helper()
	switch list := os.Getenv("FLUXKEEP_RELEASE"); list {
	case "":
		t.Skip("FLUXKEEP_RELEASE is not set: this takes many minutes")
		return nil
	case "all":
		return targets
	default:
		chosen, err := parseTargets(list)
		if err != nil {
			t.Fatal(err)
		}
		return chosen
	}
}

// emulators are the programs of QEMU that run another processor's.
var emulators = map[string]string{"arm64": "qemu-aarch64-static", "arm": "qemu-arm-static", "amd64": "qemu-x86_64-static"}

// TestEmulated runs the programs for Linux on other processors, by emulation.
func TestEmulated(t *testing.T) {
	for _, other := range chosenTargets(t) {
		if other.os != host.os || other.arch == host.arch {
			continue
		}
		t.Run(other.String(), func(t *testing.T) {
			emulator := findFrom(t, "qemu-user-static", emulators[other.arch])
			p := program{other, filepath.Join(t.TempDir(), "fluxkeep")}
			if err := build(t.Context(), "..", p); err != nil {
				t.Fatal(err)
			}
			home := t.TempDir()
			run := func(address string, args ...string) *exec.Cmd {
				cmd := exec.Command(emulator, append([]string{p.path}, args...)...)
				cmd.Env = []string{"HOME=" + home, "FLUXKEEP_HTTP_BIND_ADDRESS=" + address, "FLUXKEEP_DATA_DIR=" + filepath.Join(home, "data")}
				return cmd
			}
			if out, err := run("", "version").CombinedOutput(); err != nil || !bytes.Contains(out, []byte("linux/"+other.arch)) {
				t.Errorf("its version is %q, %v", out, err)
			}
			address := ""
			s := serve(t, func(a string) *exec.Cmd { address = a; return run(a, "serve") })
			if out, err := run(address, "health").CombinedOutput(); err != nil || !bytes.HasPrefix(out, []byte("healthy")) {
				t.Errorf("it is not healthy: %q, %v", out, err)
			}
			client(t, s, home, "correct horse battery", "setup", "--username", "admin", "--org", "acme")
			client(t, s, home, "s3cret", "secret", "set", "db_password")
			if got := client(t, s, home, "", "secret", "get", "db_password"); got != "s3cret" {
				t.Errorf("the secret is %q", got)
			}
			s.stop(t)
		})
	}
}

// TestRelease makes the release of the last commit twice, from nothing, and compares
// the bytes. It takes long, so FLUXKEEP_RELEASE must name the targets, or be "all".
func TestRelease(t *testing.T) {
	chosen := chosenTargets(t)
	sums := func() []byte {
		r := &release{version: "1.2.3", source: ".."}
		if err := r.describe(context.Background()); err != nil {
			t.Fatal(err)
		}
		dist := t.TempDir()
		if err := r.make(t.Context(), dist, chosen, t.Output()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			name := f[66:]
			info, err := os.Stat(filepath.Join(dist, name))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %.1f MiB", name, float64(info.Size())/(1<<20))
		}
		return b
	}
	a := sums()
	t.Setenv("GOCACHE", t.TempDir()) // so that nothing comes from an earlier build
	if b := sums(); !bytes.Equal(a, b) {
		t.Errorf("one is\n%sthe other\n%s", a, b)
	}
}
