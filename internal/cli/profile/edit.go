package profile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Activate makes a profile the active one, also for influx. The one that was
// active becomes the previous one.
func Activate(path, name string) error {
	return rewrite(path, name, activate)
}

// Remove deletes a profile. If it was the active one, none is active.
func Remove(path, name string) error {
	return rewrite(path, name, remove)
}

// rewrite changes the profile with a name in a configs file.
func rewrite(path, name string, edit func(text []byte, name string) ([]byte, error)) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := Load(path)
	if err != nil {
		return err
	}
	if _, ok := f.Profiles[name]; !ok {
		return &UnknownError{path, name, f.Names()}
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configs file: %w", err)
	}
	text, err := edit(old, name)
	if err != nil {
		return fmt.Errorf("write the configs file %s: %w", path, err)
	}
	temp, err := createTemp(path)
	if err != nil {
		return err
	}
	return commit(temp, path, text)
}

// activate returns the text of a configs file with another active profile.
func activate(text []byte, name string) ([]byte, error) {
	want, err := decode(text)
	if err != nil {
		return nil, err
	}
	deactivateOthers(want, name)
	want[name].(map[string]any)["active"] = true // parse has checked that it is a table
	var edited bytes.Buffer
	for line := range strings.Lines(string(without(text, "", name))) {
		edited.WriteString(line)
		if m := header.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil && m[2] == name {
			edited.WriteString("  active = true\n")
		}
	}
	return faithful(edited.Bytes(), want)
}

// remove returns the text of a configs file without a profile.
func remove(text []byte, name string) ([]byte, error) {
	want, err := decode(text)
	if err != nil {
		return nil, err
	}
	delete(want, name)
	return faithful(without(text, name, ""), want)
}
