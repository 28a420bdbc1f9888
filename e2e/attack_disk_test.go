//go:build unix

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestAttackDisk checks that the next start finds every acknowledged change,
// whatever happens to the files of a running server.
func TestAttackDisk(t *testing.T) {
	long(t, "attacks take minutes")
	t.Run("files vanish", attackFilesVanish)
	t.Run("older files", attackOlderFiles)
	t.Run("no space", func(t *testing.T) { attackFullDisk(t, "size=64m", 1<<20) })
	t.Run("no inodes", func(t *testing.T) { attackFullDisk(t, "size=64m,nr_inodes=300", 0) })
	t.Run("umask and links", attackModes)
}

// change sets a secret and reports whether the server acknowledged it.
func (x *tenants) change(name string) bool {
	return x.ask("PATCH", "/api/v2/orgs/"+x.orgID+"/secrets", x.token, object{x.secretName(name): x.private(name)}).ok()
}

// has reports whether a secret exists.
func (x *tenants) has(name string) bool {
	x.t.Helper()
	return strings.Contains(x.must(200, x.read()).body, x.private(name))
}

func (x *tenants) read() reply {
	return x.ask("GET", "/api/v2/orgs/"+x.orgID+"/secrets/values", x.token, nil)
}

func (s *server) healthy() bool { return s.ask("GET", "/health", "", nil).status == 200 }

// attackFilesVanish moves files away from an idle or busy server, and back.
func attackFilesVanish(t *testing.T) {
	for _, c := range []struct{ name, files string }{
		{"tables", "store/*.sst"}, {"logs", "store/*.log"}, {"manifest", "store/MANIFEST*"}, {"markers", "store/marker.*"}, {"lock", "store/LOCK"},
		{"the store", "store"}, {"everything", "*"},
	} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, busy=%t", c.name, busy), func(t *testing.T) {
				t.Parallel()
				x := startTenants(t)
				x.troubled = true
				x.stop() // flushes the log to tables
				x.again()
				if !x.change("before") {
					t.Fatal("the server takes no changes")
				}
				var stop atomic.Bool
				done := make(chan struct{})
				go func() {
					defer close(done)
					for busy && !stop.Load() {
						x.change("busy")
					}
				}()
				files, err := filepath.Glob(filepath.Join(x.dir, c.files))
				if err != nil || len(files) == 0 {
					t.Fatalf("no files to move: %v", err)
				}
				away := t.TempDir()
				for _, f := range files {
					if err := os.Rename(f, filepath.Join(away, filepath.Base(f))); err != nil {
						t.Fatal(err)
					}
				}
				for range 3 {
					if x.change("after") {
						t.Error("a change was acknowledged")
					}
				}
				if x.healthy() {
					t.Error("the server reports that it is healthy")
				}
				if a := x.ask("GET", "/metrics", "", nil); a.status != 200 {
					t.Error(a)
				}
				for _, f := range files {
					to, from := f, filepath.Join(away, filepath.Base(f))
					if err := os.RemoveAll(to); err != nil { // such as a new audit log
						t.Fatal(err)
					}
					if err := os.Rename(from, to); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, "change", func() bool { return x.change("again") })
				stop.Store(true)
				<-done
				x.kill()
				x.again()
				for _, name := range []string{"before", "again"} {
					if !x.has(name) {
						t.Errorf("%s: an acknowledged change is lost", name)
					}
				}
			})
		}
	}
}

// attackOlderFiles replaces files of a running server with older copies. The
// server must neither return to the old state nor accept changes on top of it.
func attackOlderFiles(t *testing.T) {
	for _, files := range []string{"store/*.log", "store/*"} {
		t.Run(files, func(t *testing.T) {
			t.Parallel()
			x := startTenants(t)
			x.troubled = true
			older := x.copyFolder()
			if !x.change("since") {
				t.Fatal("the server takes no changes")
			}
			old, err := filepath.Glob(filepath.Join(older, files))
			if err != nil || len(old) == 0 {
				t.Fatalf("no files: %v", err)
			}
			for _, f := range old {
				to, err := filepath.Rel(older, f)
				if err == nil && filepath.Base(f) != "LOCK" {
					err = os.Rename(f, filepath.Join(x.dir, to))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for range 30 { // the store keeps retrying
				if x.change("on top") {
					t.Error("a change was acknowledged")
				}
				if !x.has("since") {
					t.Fatal("an acknowledged change is lost while the server runs")
				}
			}
			if x.healthy() {
				t.Error("the server reports that it is healthy")
			}
		})
	}
}

// attackFullDisk fills the server's disk and restarts the server on it.
func attackFullDisk(t *testing.T, options string, blocks int) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs to mount a file system")
	}
	x := startTenants(t)
	x.troubled = true
	x.stop()
	disk := t.TempDir()
	mount := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", disk)
	if out, err := mount.CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	home := x.dir
	t.Cleanup(func() {
		x.stop()
		x.dir = home // searched by the other cleanup, which runs later
		_ = syscall.Unmount(disk, 2)
	})
	x.dir = filepath.Join(disk, "data")
	output(t, exec.Command("cp", "-a", home, x.dir))
	x.again()
	fill(t, filepath.Join(disk, "filler"), blocks)
	acknowledged := []string{"a"}
	change := func(name string) {
		if x.change(name) {
			acknowledged = append(acknowledged, name)
		}
	}
	for i := range 20 {
		change(fmt.Sprint("full", i))
	}
	for round := range 2 {
		x.kill()
		x.again()
		change(fmt.Sprint("after restart ", round))
		// Without space for its audit record, a read is refused too.
		if a := x.read(); a.status != 503 && !a.ok() {
			t.Error(a)
		}
		if a := x.ask("GET", "/metrics", "", nil); !a.ok() {
			t.Error(a)
		}
	}
	x.kill()
	for _, tool := range [][]string{{"doctor"}, {"audit", "verify"}} {
		output(t, command(t, x.home, program, append(tool, "--data-dir", x.dir)...))
	}
	x.again()
	if err := os.RemoveAll(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "change", func() bool { return x.change("space again") })
	eventually(t, "health", x.healthy)
	for _, name := range append(acknowledged, "space again") {
		if !x.has(name) {
			t.Errorf("%q was acknowledged and is lost", name)
		}
	}
}

// fill creates files, first large and then smaller ones, until the disk is full.
func fill(t *testing.T, dir string, block int) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for n, size := 0, block; ; n++ {
		if n > 100_000 {
			t.Fatal("the disk isn't full yet")
		}
		err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), make([]byte, size), 0o600)
		if err != nil && size <= 1 {
			return
		}
		if err != nil {
			size /= 16
		}
	}
}

// attackModes serves under the most open and the strictest umask, and with links
// in place of files.
func attackModes(t *testing.T) {
	for _, mask := range []string{"0", "077", "0777"} {
		dir := filepath.Join(t.TempDir(), "data")
		address := newAddress()
		cmd := exec.Command("sh", "-c", `umask `+mask+`; exec "$0" "$@"`, program, "serve", "--http-bind-address", address, "--data-dir", dir)
		cmd.Env = append(cleanEnviron(), "HOME="+t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s := &server{t: t, url: "http://" + address}
		eventually(t, "server", func() bool {
			_, _, err := s.do("GET", "/health", "", nil)
			return err == nil
		})
		if a := s.ask("POST", "/api/v2/setup", "", object{"username": "a", "password": "correct horse", "org": "o", "bucket": "b"}); a.status != 201 {
			t.Errorf("umask %s: %v", mask, a)
		}
		files := 0
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o600)
			if files++; d.IsDir() {
				want = 0o700
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("umask %s: %s has mode %o, want %o", mask, path, got, want)
			}
			return nil
		})
		if err != nil || files < 8 {
			t.Errorf("umask %s: %d files, %v", mask, files, err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("umask %s: %v", mask, err)
		}
	}
	// Links that would make the server write to somebody else's file.
	for _, name := range []string{"key", "keyset.json", "format", "audit.log", "lock", "store"} {
		dir := filepath.Join(t.TempDir(), "data")
		target := filepath.Join(t.TempDir(), "target")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "serve", "--http-bind-address", "127.0.0.1:0", "--data-dir", dir)
		cmd.Env = append(cleanEnviron(), "HOME="+t.TempDir())
		out, err := bounded(t, cmd)
		if _, err := os.Lstat(target); err == nil {
			t.Errorf("a link in place of %s: the server created its target", name)
		}
		if err == nil && name != "lock" { // the server replaces that one
			t.Errorf("a link in place of %s is served:\n%s", name, out)
		}
	}
}

// bounded runs a command that should fail, and kills it if it doesn't.
func bounded(t *testing.T, cmd *exec.Cmd) (string, error) {
	t.Helper()
	// A file, because the command may still write while it is read.
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	output := func() string {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	done := false
	eventually(t, "end or listener", func() bool {
		select {
		case err = <-ended:
			done = true
		default:
		}
		return done || strings.Contains(output(), "listening")
	})
	if !done {
		_ = cmd.Process.Kill()
		<-ended
		return output(), nil
	}
	return output(), err
}
