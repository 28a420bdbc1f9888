package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBackupToFolder: a backup that can't be restored never takes the place of one
// that can, whether it is the new one or one in the folder.
func TestBackupToFolder(t *testing.T) {
	whole := someBackup(t)
	cut := whole[:len(whole)/2]
	const foreign, future = "fluxkeep.backup", "fluxkeep-20991101T030000.000Z.backup"
	at := func(day int) string {
		return "fluxkeep-" + time.Date(2026, 11, day, 3, 0, 0, 0, time.UTC).Format(backupTime) + ".backup"
	}
	for _, tt := range []struct {
		name    string
		sent    []byte
		before  map[string][]byte
		keep    int
		after   []string // besides the new one
		failure string
	}{
		{"the first", whole, nil, 2, nil, ""},
		{"one too many", whole, map[string][]byte{at(1): whole, at(2): whole, at(3): whole}, 3, []string{at(2), at(3)}, ""},
		{"all are kept", whole, map[string][]byte{at(1): whole, at(2): whole}, 0, []string{at(1), at(2)}, ""},
		{"only the new one", whole, map[string][]byte{at(1): whole, at(2): cut}, 1, nil, ""},
		{
			"damaged ones don't count", whole,
			map[string][]byte{at(1): whole, at(2): whole, at(3): cut, at(4): nil}, 2,
			[]string{at(2), at(3), at(4)}, "2 backups in",
		},
		{"the new one is cut", cut, map[string][]byte{at(1): whole, at(2): whole}, 1, []string{at(1), at(2)}, "damaged or partial backup"},
		{"other files", whole, map[string][]byte{foreign: whole, "notes.txt": nil}, 1, []string{foreign, "notes.txt"}, ""},
		{
			"left behind", whole,
			map[string][]byte{"fluxkeep-20261101T030000.000Z.backup.3141592653.tmp": cut, "fluxkeep-20991101T030000.000Z.backup.2718281828.tmp": cut}, 1,
			[]string{"fluxkeep-20991101T030000.000Z.backup.2718281828.tmp"}, "",
		},
		{
			"from the future", whole,
			map[string][]byte{future: whole, at(1): whole, at(2): whole}, 2,
			[]string{at(2), future}, "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(tt.sent) }))
			defer srv.Close()
			home := t.TempDir()
			dir := filepath.Join(home, "backups")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for name, content := range tt.before {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(name, "-2026") {
					old := time.Now().Add(-2 * backupPatience)
					if err := os.Chtimes(path, old, old); err != nil {
						t.Fatal(err)
					}
				}
			}
			root := NewRootCommand()
			args := []string{"backup", "--to", dir, "--host", srv.URL, "--token", "t", "--configs-path", filepath.Join(home, "configs")}
			if tt.keep > 0 {
				args = append(args, "--keep", string(rune('0'+tt.keep)))
			}
			root.SetArgs(args)
			root.SetOut(io.Discard)
			root.SetErr(io.Discard)
			start := time.Now().Add(-time.Second)
			err := root.ExecuteContext(t.Context())
			if tt.failure == "" && err != nil || tt.failure != "" && (err == nil || !strings.Contains(err.Error(), tt.failure)) {
				t.Errorf("error %v, want %q", err, tt.failure)
			}
			entries, rerr := os.ReadDir(dir)
			if rerr != nil {
				t.Fatal(rerr)
			}
			var left, fresh []string
			for _, e := range entries {
				if _, was := tt.before[e.Name()]; was {
					left = append(left, e.Name())
				} else {
					fresh = append(fresh, e.Name())
				}
			}
			slices.Sort(tt.after)
			if !slices.Equal(left, tt.after) {
				t.Errorf("left: %q, want %q", left, tt.after)
			}
			if !bytes.Equal(tt.sent, whole) {
				if len(fresh) != 0 {
					t.Errorf("it left %q", fresh)
				}
				return
			}
			if len(fresh) != 1 || !backupName.MatchString(fresh[0]) {
				t.Fatalf("new files: %q", fresh)
			}
			written, perr := time.Parse("fluxkeep-"+backupTime+".backup", fresh[0])
			if perr != nil || written.Before(start) || written.After(time.Now()) {
				t.Errorf("the name says %v, %v", written, perr)
			}
			if content, err := os.ReadFile(filepath.Join(dir, fresh[0])); err != nil || !bytes.Equal(content, whole) {
				t.Errorf("%d bytes of %d, %v", len(content), len(whole), err)
			}
		})
	}
}
