//go:build unix

package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

func testConfig(t *testing.T, dir string) *config.Config {
	t.Helper()
	c := config.New()
	c.DataDir = dir
	if err := c.Load(nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheckAccess(t *testing.T) {
	const me, other, root = 1000, 1001, 0
	for _, c := range []struct {
		mode        fs.FileMode
		owner, user int
		refused     string
	}{
		{0o700, me, me, ""}, {0o755, me, me, ""}, {0o500, me, me, ""},
		{0o770, me, me, "chmod go-w"}, {0o775, me, me, "chmod go-w"}, {0o702, me, me, "chmod go-w"},
		{0o777 | fs.ModeSticky, me, me, "chmod go-w"},
		{0o700, other, me, "another user"}, {0o755, other, me, "another user"},
		// As root: offline commands, and containers.
		{0o700, root, root, ""}, {0o700, other, root, ""}, {0o770, other, root, "chmod go-w"}, {0o770, root, root, "chmod go-w"}, {0o777, root, root, "chmod go-w"},
		// A volume that Kubernetes gives a group, and one that it gives everybody.
		{0o775 | fs.ModeSetgid, root, me, ""}, {0o777, root, me, "chmod go-w"},
	} {
		err := checkAccess(c.mode|fs.ModeDir, c.owner, c.user)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("mode %v of user %d for user %d: %v, want %q", c.mode, c.owner, c.user, err, c.refused)
		}
	}
}

func TestFolderOpenToOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if d, err := lockDir(testConfig(t, dir)); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("opened %v, %v", d, err)
	}
}

// The error for a folder in use names the process.
func TestLockNamesItsHolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := testConfig(t, dir)
	first, err := lockDir(c)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		if _, err := lockDir(c); !errors.Is(err, ErrLocked) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %v, want it to end with %q", err, want)
		}
	}
	refused(dir + ": " + ErrLocked.Error())
	if err := os.WriteFile(first.file(lockName), []byte("left by a process that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	first.nameHolder()
	refused(fmt.Sprintf("datadir.test, process %d", os.Getpid()))
	for _, text := range []string{"", "cut", "\x1b[31mred\n", strings.Repeat("long", 100) + "\n"} {
		if err := os.WriteFile(first.file(lockName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(dir + ": " + ErrLocked.Error())
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("closing left %v, %v", left, err)
	}
}

func TestCommandName(t *testing.T) {
	for want, args := range map[string][]string{
		"fluxkeep serve":           {"/usr/bin/fluxkeep", "serve", "--data-dir", "x"},
		"fluxkeep key rewrap":      {"fluxkeep.exe", "key", "rewrap"},
		"fluxkeep import influxdb": {"fluxkeep", "import", "influxdb", "/var/lib/influxd.bolt"},
		"fluxkeep":                 {"fluxkeep", "--data-dir", "x", "serve"},
	} {
		if got := commandName(args); got != want {
			t.Errorf("%q is named %q, want %q", args, got, want)
		}
	}
}

// Access to the files of a data folder doesn't depend on the umask. The modes of the
// engine's files do, but they are in a folder that only the owner can enter.
func TestUmask(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	defer syscall.Umask(syscall.Umask(0))
	c := testConfig(t, dir)
	d, err := Unlock(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Open(t.Context(), c, discardLog()); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 6 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, name := range append(entries, fs.FileInfoToDirEntry(stat(t, dir))) {
		info, err := name.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v", name.Name(), info.Mode(), err)
		}
	}
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
