package seal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

func TestKeyFileVectors(t *testing.T) {
	var v struct {
		KeyID   string `json:"key_id"`
		Vectors []struct{ Name, Text, Result, Reason string }
	}
	readVectors(t, "keyfiles.json", &v)
	if len(v.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range v.Vectors {
		t.Run(c.Name, func(t *testing.T) {
			k, err := openKeyFile(t, c.Text)
			wantResult(t, err, c.Result)
			if err != nil {
				if !strings.Contains(err.Error(), c.Reason) {
					t.Errorf("err = %v, want it to contain %q", err, c.Reason)
				}
				return
			}
			ref, _, err := k.Key(t.Context())
			if err != nil || ref.ID != v.KeyID || len(ref.Parameters) != 0 {
				t.Errorf("Key = %+v, %v, want id %s", ref, err, v.KeyID)
			}
		})
	}
}

func TestCreateKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	created, err := seal.CreateKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode = %v", info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := created.Key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# Fluxkeep key-encryption key "+ref.ID) {
		t.Errorf("the file does not say what it is: %.60q", text)
	}
	opened, err := seal.OpenKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := opened.Key(t.Context()); err != nil || again.ID != ref.ID {
		t.Errorf("opened key %s, but created %s, %v", again.ID, ref.ID, err)
	}

	if _, err := seal.CreateKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v, want fs.ErrExist", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(text) {
		t.Errorf("the second call changed the file: %v", err)
	}
	if _, err := seal.CreateKeyFile(filepath.Join(t.TempDir(), "none", "key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing directory: %v, want fs.ErrNotExist", err)
	}
}

// TestCutKeyFile checks that a truncated file is an error, never another key.
func TestCutKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := seal.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(text) - 1 { // the last byte is a newline, which may be missing
		if _, err := openKeyFile(t, string(text[:n])); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("truncated to %d of %d bytes: %v, want ErrDamaged", n, len(text), err)
		}
	}
}

func TestOpenKeyFileRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if _, err := seal.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenKeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %o: err = %v, want it to say what to do", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenKeyFile(path); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}

	if _, err := seal.OpenKeyFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want fs.ErrNotExist", err)
	}
	if _, err := seal.OpenKeyFile(dir); err == nil {
		t.Error("opened a directory")
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenKeyFile(large); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a large file: %v", err)
	}
}
