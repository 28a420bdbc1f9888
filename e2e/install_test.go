package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unavailable skips a test that lacks another project's program, or fails it with
// FLUXKEEP_E2E=require.
func unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("FLUXKEEP_E2E") == "require" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// find returns the path of a program, and skips the test if it isn't installed.
func find(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(t, "%s is not installed", name)
	}
	return path
}

// debianProgram finds a program of a Debian package, which root installs where it is
// missing.
func debianProgram(t testing.TB, name, from string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 || testing.Short() {
		unavailable(t, "%s is not installed", name)
	}
	if err := installer("", "sh", "-c", "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "+from); err != nil {
		unavailable(t, "%v", err)
	}
	return find(t, name)
}

// given returns the program that an environment variable names, or that is in PATH.
// No package registry has it, so its absence is never a failure.
func given(t testing.TB, variable, name string) string {
	t.Helper()
	if path := os.Getenv(variable); path != "" {
		return path
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s: no package registry has it, and neither %s nor PATH names one", name, variable)
	}
	return path
}

// installed returns a folder in the user's cache that install fills. It is complete
// or missing, and version identifies its content.
func installed(t testing.TB, name string, install func(dir string) error) string {
	t.Helper()
	if testing.Short() {
		t.Skip("nothing is installed in short mode")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		unavailable(t, "there is no folder for what this test needs: %v", err)
	}
	cache = filepath.Join(cache, "fluxkeep-e2e")
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		unavailable(t, "make a folder for what this test needs: %v", err)
	}
	temp, err := os.MkdirTemp(cache, "installing-")
	if err != nil {
		unavailable(t, "make a folder for what this test needs: %v", err)
	}
	defer os.RemoveAll(temp)
	if err := install(temp); err != nil {
		unavailable(t, "install %s: %v", name, err)
	}
	if err := os.Rename(temp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // unless another run was faster
			t.Fatal(err)
		}
	}
	return dir
}

// keyOf returns the hash of the files that pin the versions.
func keyOf(t testing.TB, more string, files ...string) string {
	t.Helper()
	sum := sha256.New()
	io.WriteString(sum, more)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}

// installer runs an installer in a folder, with the user's environment, which
// configures the registries.
func installer(dir string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// python returns a Python interpreter, and the folder with the packages that
// requirements.txt names in a folder of testdata.
func python(t testing.TB, folder string) (interpreter, packages string) {
	t.Helper()
	out, err := exec.Command(find(t, "python3"), "-c", "import sys; print(sys.executable); print(sys.version)").Output()
	if err != nil {
		unavailable(t, "python3 does not run: %v", err)
	}
	interpreter, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	requirements, err := filepath.Abs(filepath.Join("testdata", folder, "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return interpreter, installed(t, folder+"-"+keyOf(t, version, requirements), func(dir string) error {
		return installer(dir, interpreter, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check",
			"--target", dir, "-r", requirements)
	})
}

// node returns Node.js, and the folder with the packages that
// testdata/js/package-lock.json names.
func node(t testing.TB) (interpreter, packages string) {
	t.Helper()
	interpreter = find(t, "node")
	npm := find(t, "npm")
	files := []string{"testdata/js/package.json", "testdata/js/package-lock.json"}
	dir := installed(t, "js-"+keyOf(t, "", files...), func(dir string) error {
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o600); err != nil {
				return err
			}
		}
		return installer(dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
	})
	return interpreter, filepath.Join(dir, "node_modules")
}

const (
	telegrafVersion = "v1.37.2"
	telegrafParts   = "custom,secretstores.vault,secretstores.http,inputs.http,inputs.mock,outputs.file,parsers.json,serializers.influx"
)

// telegraf returns a Telegraf, built from its module with the plugins that the tests
// use.
func telegraf(t testing.TB) string {
	t.Helper()
	dir := installed(t, "telegraf-"+telegrafVersion+"-"+keyOf(t, telegrafParts), func(dir string) error {
		cmd := exec.Command("go", "mod", "download", "-json", "github.com/influxdata/telegraf@"+telegrafVersion)
		cmd.Dir = dir // outside this module, which doesn't depend on it
		out, err := cmd.Output()
		var module struct{ Dir, Error string }
		if jerr := json.Unmarshal(out, &module); err != nil || jerr != nil || module.Error != "" {
			return fmt.Errorf("download: %w %s", errors.Join(err, jerr), module.Error)
		}
		// It is built in a copy of its folder, so that its own go.mod determines
		// the versions of its dependencies.
		source := filepath.Join(dir, "source")
		if err := os.CopyFS(source, os.DirFS(module.Dir)); err != nil {
			return err
		}
		if err := installer(source, "env", "CGO_ENABLED=0", "GOWORK=off", "go", "build", "-buildvcs=false", "-trimpath",
			"-tags", telegrafParts,
			"-ldflags", "-s -w -X github.com/influxdata/telegraf/internal.Version="+strings.TrimPrefix(telegrafVersion, "v"),
			"-o", filepath.Join(dir, "telegraf"), "./cmd/telegraf"); err != nil {
			return err
		}
		return os.RemoveAll(source)
	})
	return filepath.Join(dir, "telegraf")
}

// fluxProgram returns the program of the module flux, which evaluates Flux
// scripts.
func fluxProgram(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("nothing is installed in short mode")
	}
	dir := t.TempDir()
	// This project may need newer versions than the module's files list. The
	// files stay unchanged all the same.
	for _, f := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join("flux", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := installer("flux", "go", "mod", "download", "-modfile="+filepath.Join(dir, "go.mod"), "github.com/influxdata/flux"); err != nil {
		unavailable(t, "Flux can't be had: %v", err)
	}
	path := filepath.Join(dir, "flux")
	if err := installer("flux", "env", "CGO_ENABLED=0", "go", "build", "-mod=mod", "-modfile="+filepath.Join(dir, "go.mod"), "-o", path, "."); err != nil {
		t.Fatal(err)
	}
	return path
}
