package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// someBackup returns a backup in the form that a server sends.
func someBackup(t *testing.T) []byte {
	t.Helper()
	kek, err := seal.CreateKeyFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	keys, wrapped, err := seal.Create(t.Context(), kek)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, backup.Header{Keyset: json.RawMessage(wrapped)}, keys.MAC("backup"))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := w.Add([]byte("key"), bytes.Repeat([]byte("sealed"), 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBackupIsChecked checks that a backup that was changed or truncated in transit isn't
// stored, and leaves an existing file unchanged.
func TestBackupIsChecked(t *testing.T) {
	whole := someBackup(t)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct {
		name string
		sent []byte
		want string // the error, "" for none
	}{
		{"whole", whole, ""},
		{"a bit flipped", flipped, "its checksum is wrong"},
		{"cut", whole[:len(whole)/2], "damaged or partial backup"},
		{"a web page", []byte("<html>sign in here</html>\n"), "it does not start like a backup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(tt.sent) }))
			defer srv.Close()
			dir := t.TempDir()
			file := filepath.Join(dir, "all.backup")
			if err := os.WriteFile(file, []byte("the one before"), 0o600); err != nil {
				t.Fatal(err)
			}
			root := NewRootCommand()
			root.SetArgs([]string{"backup", "--output", file, "--force", "--host", srv.URL, "--token", "t",
				"--configs-path", filepath.Join(dir, "configs")})
			root.SetOut(io.Discard)
			root.SetErr(io.Discard)
			err := root.ExecuteContext(t.Context())
			got, rerr := os.ReadFile(file)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if tt.want == "" {
				if err != nil || !bytes.Equal(got, whole) {
					t.Errorf("%d bytes of %d, %v", len(got), len(whole), err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) || string(got) != "the one before" {
				t.Errorf("error %v, want one with %q; the file begins with %q", err, tt.want, got[:14])
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// TestOverlappingBackups writes the same file twice at the same time: neither run takes
// the other's partial file for its own.
func TestOverlappingBackups(t *testing.T) {
	whole := someBackup(t)
	first, second := make(chan struct{}), make(chan struct{})
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 2 {
			w.Write(whole)
			return
		}
		w.Write(whole[:len(whole)/2])
		http.NewResponseController(w).Flush()
		close(first)
		<-second
		w.Write(whole[len(whole)/2:])
	}))
	defer srv.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "all.backup")
	run := func() error {
		root := NewRootCommand()
		root.SetArgs([]string{"backup", "--output", file, "--force", "--host", srv.URL, "--token", "t",
			"--configs-path", filepath.Join(dir, "configs")})
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		return root.ExecuteContext(t.Context())
	}
	slow := make(chan error)
	go func() { slow <- run() }()
	<-first
	if err := run(); err != nil {
		t.Error(err)
	}
	close(second)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes of %d, %v", len(got), len(whole), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
