package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/durable"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// wantFiles checks that dir holds exactly these files with this content.
func wantFiles(tb testing.TB, dir string, want map[string]string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	must(tb, err)
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			tb.Errorf("unexpected file %s", e.Name())
		}
	}
	for name, content := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != content {
			tb.Errorf("%s holds %q, %v; want %q", name, got, err, content)
		}
	}
}

func TestWriteNewFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	must(t, durable.WriteNewFile(path, []byte("1")))
	if err := durable.WriteNewFile(path, []byte("2")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing a file that exists: %v", err)
	}
	wantFiles(t, dir, map[string]string{"a": "1"})
	if err := durable.WriteNewFile(filepath.Join(dir, "missing", "a"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing a file into a missing folder: %v", err)
	}
}

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, content := range []string{"1", "22", ""} {
		must(t, durable.ReplaceFile(path, []byte(content)))
		wantFiles(t, dir, map[string]string{"a": content})
	}
	// A file that a crash left behind is overwritten.
	must(t, os.WriteFile(path+durable.TempSuffix, []byte("a longer leftover"), 0o400))
	must(t, durable.ReplaceFile(path, []byte("3")))
	wantFiles(t, dir, map[string]string{"a": "3"})

	// A failure preserves the old file.
	must(t, os.MkdirAll(filepath.Join(path+durable.TempSuffix, "x"), 0o700))
	if err := durable.ReplaceFile(path, []byte("4")); err == nil {
		t.Error("replaced a file although its temporary file cannot be created")
	}
	must(t, os.RemoveAll(path+durable.TempSuffix))
	wantFiles(t, dir, map[string]string{"a": "3"})
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, c := range []struct {
		content, want string
		err           error
	}{{"1", "1", nil}, {"2", "2", nil}, {"3", "2", errors.New("the disk is full")}} {
		f, err := durable.CreateTemp(dir, "*.tmp")
		must(t, err)
		_, err = f.WriteString(c.content)
		must(t, err)
		if err := durable.Commit(f, path, c.err); !errors.Is(err, c.err) {
			t.Errorf("%q: %v", c.content, err)
		}
		wantFiles(t, dir, map[string]string{"file": c.want})
	}
	f, err := durable.CreateTemp(dir, "*.tmp")
	must(t, err)
	if err := durable.Commit(f, filepath.Join(path, "below"), nil); err == nil {
		t.Error("a file in a file")
	}
	wantFiles(t, dir, map[string]string{"file": "2"})
}

func TestSymbolicLinksAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	link, victim := filepath.Join(dir, "link"), filepath.Join(dir, "victim")
	if err := os.Symlink(victim, link); err != nil {
		t.Skip(err)
	}
	if err := durable.WriteNewFile(link, []byte("1")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing through a link: %v", err)
	}
	must(t, os.WriteFile(victim, []byte("mine"), 0o600))
	must(t, durable.ReplaceFile(link, []byte("1")))
	must(t, os.Symlink(victim, link+durable.TempSuffix))
	must(t, durable.ReplaceFile(link, []byte("2")))
	wantFiles(t, dir, map[string]string{"link": "2", "victim": "mine"})
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	must(t, durable.MkdirAll(deep))
	must(t, durable.MkdirAll(deep))
	must(t, durable.WriteNewFile(filepath.Join(dir, "file"), nil))
	for _, path := range []string{filepath.Join(dir, "file"), filepath.Join(dir, "file", "x")} {
		if err := durable.MkdirAll(path); err == nil {
			t.Errorf("turned the file %s into a folder", path)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	must(t, durable.WriteNewFile(path, nil))
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, second := open(), open()
	must(t, durable.Lock(first))
	if err := durable.Lock(second); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	must(t, first.Close())
	must(t, durable.Lock(second))
}
