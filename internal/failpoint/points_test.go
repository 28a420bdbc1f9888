package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// write replaces the control file.
func write(t *testing.T, file string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestReach(t *testing.T) {
	file := filepath.Join(t.TempDir(), "points")
	p := Open(file)
	want := func(point string, want error) {
		t.Helper()
		if err := p.Reach(point); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", point, err, want)
		}
	}
	want("store.log.sync.before", nil)
	write(t, file, "EIO store.log.* 3", "ENOSPC audit.*.before")
	want("store.log.sync.before", nil)
	want("audit.write.before", syscall.ENOSPC)
	want("audit.write.after", nil)
	want("store.log.sync.after", nil)
	want("store.table.sync.after", nil)
	want("store.log.write.before", syscall.EIO)
	want("store.log.write.before", syscall.EIO)
	write(t, file, "EROFS store.*")
	want("store.log.write.before", syscall.EROFS)
	want("audit.write.before", nil)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want("store.log.write.before", nil)
	write(t, file, "EIO store.*", "clock -1h")
	if ahead := time.Until(p.Now()); ahead.Round(time.Minute) != -time.Hour {
		t.Errorf("the clock is ahead by %v", ahead)
	}
	want("store.log.write.before", syscall.EIO)
	for _, wrong := range []string{"clock much", "EIO", "burn store.*", "EIO store.* 0", "EIO store.* x", "EIO [", "EIO a 1 2"} {
		write(t, file, wrong)
		if err := p.Reach("store.log.write.before"); err == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}

// "before" means that the step was not done, "after" that it was, and "within"
// that half of the write was.
func TestFS(t *testing.T) {
	dir := t.TempDir()
	control := filepath.Join(dir, "points")
	if name := os.Getenv("FAILPOINT_TEST_FILE"); name != "" {
		f, err := Open(filepath.Join(filepath.Dir(name), "points")).FS(vfs.Default).Create(name, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write([]byte("0123456789"))
		}
		t.Fatalf("still alive: %v", err)
	}
	fs := Open(control).FS(vfs.Default)
	log := filepath.Join(dir, "000001.log")
	f, err := fs.Create(log, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		when, content string
	}{{"before", ""}, {"after", "whole"}} {
		write(t, control, "EIO store.log.write."+c.when)
		if _, err := f.Write([]byte("whole")); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", c.when, err)
		}
		if got, err := os.ReadFile(log); err != nil || string(got) != c.content {
			t.Errorf("%s: the file holds %q, want %q, %v", c.when, got, c.content, err)
		}
	}
	for _, c := range []struct {
		point, content string
		made           bool
	}{
		{"store.table.create.before", "", false},
		{"store.table.create.after", "", true},
		{"store.table.write.before", "", true},
		{"store.table.write.within", "01234", true},
		{"store.table.write.after", "0123456789", true},
	} {
		write(t, control, "kill "+c.point)
		name := filepath.Join(dir, "000002.sst")
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0], "-test.run=^TestFS$")
		child.Env = append(os.Environ(), "FAILPOINT_TEST_FILE="+name)
		if out, err := child.CombinedOutput(); err == nil || err.Error() != "signal: killed" {
			t.Errorf("%s: the child ends with %v\n%s", c.point, err, out)
		}
		if got, err := os.ReadFile(name); (err == nil) != c.made || string(got) != c.content {
			t.Errorf("%s: the file holds %q, %v", c.point, got, err)
		}
	}
}
