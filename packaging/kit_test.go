package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// host is the target that the tests build for and run.
var host = target{os: runtime.GOOS, arch: runtime.GOARCH, inImage: true}

// testRelease is a release of the work tree, whatever its state.
func testRelease(version string) *release {
	return &release{version: version, commit: strings.Repeat("ab", 20), time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), source: ".."}
}

// scratch is the folder of what all tests share.
var scratch string

// builtOnce builds the program of the work tree.
var builtOnce = sync.OnceValues(func() (program, error) {
	dir, err := os.MkdirTemp("", "fluxkeep-packaging-")
	if err != nil {
		return program{}, err
	}
	scratch = dir
	p := program{host, filepath.Join(dir, "fluxkeep")}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", p.path, "./cmd/fluxkeep")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return program{}, fmt.Errorf("%w\n%s", err, out)
	}
	return p, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if scratch != "" {
		_ = os.RemoveAll(scratch)
	}
	os.Exit(status)
}

func built(t testing.TB) program {
	t.Helper()
	if testing.Short() {
		t.Skip("nothing is built in short mode")
	}
	if runtime.GOOS != "linux" {
		t.Skip("packages and images are for Linux")
	}
	p, err := builtOnce()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// packed returns a folder with the program of the work tree, packed under a version.
// All tests share it.
func packed(t testing.TB, version string) (dist string) {
	t.Helper()
	p := built(t)
	dist = filepath.Join(filepath.Dir(p.path), version)
	if _, err := os.Stat(filepath.Join(dist, "SHA256SUMS")); err == nil {
		return dist
	}
	if err := pack(dist, version); err != nil {
		t.Fatal(err)
	}
	return dist
}

func pack(dist, version string) error {
	p, err := builtOnce()
	if err != nil {
		return err
	}
	r := testRelease(version)
	docs, err := r.documents(context.Background(), "..")
	if err != nil {
		return err
	}
	if err := emptyFolder(dist); err != nil {
		return err
	}
	if err := r.pack(dist, []program{p}, docs); err != nil {
		return err
	}
	return checksums(filepath.Join(dist, "SHA256SUMS"))
}

// one returns the only file with a name.
func one(t testing.TB, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// unavailable skips a test that lacks a program, or fails it where all have to run.
func unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("FLUXKEEP_E2E") == "require" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// find finds a program. Where it is missing and Debian has a package with its name,
// root installs that.
func find(t testing.TB, name string) string {
	t.Helper()
	return findFrom(t, name, name)
}

// findFrom finds a program of a Debian package.
func findFrom(t testing.TB, pkg, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if _, aerr := exec.LookPath("apt-get"); aerr != nil || os.Getuid() != 0 || testing.Short() {
		unavailable(t, "%s is not installed", name)
	}
	cmd := exec.Command("sh", "-c", `apt-get update -qq; apt-get install -y -qq --no-install-recommends "$1"`, "sh", pkg)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		unavailable(t, "install %s: %v\n%s", pkg, err, out)
	}
	if path, err = exec.LookPath(name); err != nil {
		unavailable(t, "%s is not installed", name)
	}
	return path
}

// must runs a command, which must succeed, and returns what it prints.
func must(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// debian returns the root of a new Debian system, in which programs run by chroot.
func debian(t testing.TB) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can run programs in a root of their own")
	}
	find(t, "debootstrap")
	cache, err := os.UserCacheDir()
	if err != nil {
		unavailable(t, "there is no folder for a Debian system: %v", err)
	}
	const suite = "bookworm"
	archive := filepath.Join(cache, "fluxkeep-e2e", "debian-"+suite+".tar")
	if _, err := os.Stat(archive); err != nil {
		makeDebian(t, suite, archive)
	}
	root := t.TempDir()
	must(t, "tar", "-C", root, "-xf", archive)
	return root
}

func makeDebian(t testing.TB, suite, archive string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(archive), 0o700); err != nil {
		t.Fatal(err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(archive), "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	root := filepath.Join(temp, "root")
	if out, err := exec.Command("debootstrap", "--variant=minbase", suite, root).CombinedOutput(); err != nil {
		unavailable(t, "a Debian system can't be had: %v\n%s", err, out)
	}
	made := filepath.Join(temp, "tar")
	must(t, "tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*", "--exclude=./usr/share/doc/*", "--exclude=./usr/share/locale/*", "-cf", made, ".")
	if err := os.Rename(made, archive); err != nil {
		t.Fatal(err)
	}
}

// served is a server that runs in a root of its own.
type served struct {
	url string
	cmd *exec.Cmd
	log *bytes.Buffer
}

// serve starts a program and waits until it is ready. The arguments get the address
// to listen on.
func serve(t testing.TB, start func(address string) *exec.Cmd) *served {
	t.Helper()
	for range 20 {
		address := fmt.Sprintf("127.0.0.1:%d", 31_000+rand.IntN(1_000))
		s := &served{url: "http://" + address, cmd: start(address), log: new(bytes.Buffer)}
		s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		var failed error
		go func() { failed = s.cmd.Wait(); close(exited) }()
		t.Cleanup(func() { _ = s.cmd.Process.Kill(); <-exited })
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if res, err := http.Get(s.url + "/ready"); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode == http.StatusOK {
					return s
				}
			}
			select {
			case <-exited:
			default:
				continue
			}
			break
		}
		<-exited
		if !strings.Contains(s.log.String(), "address already in use") {
			t.Fatalf("the server does not start: %v\n%s", failed, s.log)
		}
	}
	t.Fatal("no port is free")
	return nil
}

func (s *served) stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if err := s.cmd.Process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the server does not end")
		}
	}
}

// client runs the program as a client of a server.
func client(t testing.TB, s *served, home, stdin string, args ...string) string {
	t.Helper()
	p := built(t)
	cmd := exec.Command(p.path, append(args, "--host", s.url)...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("fluxkeep %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
