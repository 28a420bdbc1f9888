package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// startEdit returns the environment of "secret edit" with an editor that changes the
// value and notes the file's path, and a function that reports whether the folder of
// that file is gone.
func startEdit(t *testing.T) (env []string, gone func() bool) {
	t.Helper()
	server := newValues(t, map[string]string{"a": "s3cret"})
	noted := filepath.Join(t.TempDir(), "path")
	editor := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(editor, []byte("#!/bin/sh\necho \"$1\" >"+noted+"\necho changed >\"$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	env = []string{"INFLUX_HOST=" + server.URL, "INFLUX_TOKEN=t", "INFLUX_ORG_ID=0000000000000001", "VISUAL=", "EDITOR=" + editor}
	return env, func() bool {
		path, err := os.ReadFile(noted)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(strings.TrimSpace(string(path)))
		t.Cleanup(func() { os.RemoveAll(dir) })
		_, err = os.Stat(dir)
		return os.IsNotExist(err)
	}
}

// TestEditSignals checks that no signal while "secret edit" asks leaves values behind.
func TestEditSignals(t *testing.T) {
	for name, key := range map[string]string{"interrupt": "\x03", "quit": "\x1c"} {
		t.Run(name, func(t *testing.T) {
			env, gone := startEdit(t)
			x := startAt(t, env, "secret", "edit", "a", "--on-disk")
			x.sees("Save to ", 1)
			x.types(key)
			_ = x.cmd.Wait()
			if !gone() {
				t.Errorf("the values are left; seen: %q", x.text())
			}
		})
	}
}

// TestEditBrokenPipe checks that values are not left behind either when nobody reads
// what the command prints.
func TestEditBrokenPipe(t *testing.T) {
	env, gone := startEdit(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("fluxkeep", "secret", "edit", "a", "--on-disk")
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), w
	if err := cmd.Run(); err == nil {
		t.Error("it succeeded")
	}
	if !gone() {
		t.Error("the values are left")
	}
}

// TestRemoveLeftovers puts into the place what another user can put there: only folders
// that nobody uses go, and nothing blocks.
func TestRemoveLeftovers(t *testing.T) {
	place := filepath.Join(t.TempDir(), "[shm]")
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	left, lock, err := newEditDir(place)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	used, lock, err := newEditDir(place)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	pipe, link := filepath.Join(place, editPrefix()+"pipe"), filepath.Join(place, editPrefix()+"link")
	other := filepath.Join(place, "other")
	if err := errors.Join(os.WriteFile(filepath.Join(left, "values"), nil, 0o600), syscall.Mkfifo(pipe, 0o600), os.Mkdir(other, 0o700), os.Symlink(other, link)); err != nil {
		t.Fatal(err)
	}
	removeLeftovers(place)
	got, err := filepath.Glob(filepath.Dir(place) + "/*/*")
	want := []string{used, pipe, link, other}
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q is left, %v; want %q", got, err, want)
	}
	if lock, err := lockDir(pipe); err == nil { // a folder was there a moment before
		lock.Close()
	}
}
