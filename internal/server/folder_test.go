package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// A first start creates the folder with access for its owner only; the next start
// finds what the first stored.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "some", "where", "data")
	ts := start(t, dir)
	ts.setUp(t)
	ts.putSecret(t, secretName, secretValue)
	ts.stop(t)
	for name, want := range map[string]os.FileMode{
		"": os.ModeDir | 0o700, "key": 0o600, "keyset.json": 0o600, "format": 0o600, "audit.log": 0o600, "store": os.ModeDir | 0o700,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%q has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "format")); string(text) != "fluxkeep data folder, format 1\n" {
		t.Errorf("the format file contains %q", text)
	}
	if !strings.Contains(ts.log.String(), "is in the data folder") {
		t.Errorf("no warning of a key beside the data: %s", ts.log)
	}

	again := start(t, dir)
	again.token, again.org = ts.token, ts.org
	if got := again.names(t); !slices.Equal(got, []string{secretName}) {
		t.Errorf("after a restart the names are %q", got)
	}
}

// The key file can be outside the folder, and is created there.
func TestFolderKeyElsewhere(t *testing.T) {
	key := filepath.Join(t.TempDir(), "the.key")
	dir, ts := wholeFolder(t, "--key-file="+key)
	if strings.Contains(ts.log.String(), "is in the data folder") {
		t.Error("a warning of a key beside the data")
	}
	if _, err := os.Stat(filepath.Join(dir, "key")); !os.IsNotExist(err) {
		t.Errorf("there is a key in the folder too: %v", err)
	}
	start(t, dir, "--key-file="+key)
}

func TestFolderPassphrase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passphrase")
	write(t, file, password+"\n")
	dir, _ := wholeFolder(t, "--passphrase-file="+file)
	start(t, dir, "--passphrase-file="+file)
}

// Nothing confidential is readable in the folder.
func TestFolderHoldsNothingReadable(t *testing.T) {
	dir, ts := wholeFolder(t, "--audit-names=hashed")
	for _, marker := range []string{secretName, secretValue, password, ts.token} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), marker) {
				t.Errorf("%s holds %s", path, marker)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A start that fails says why in one line, and leaves the folder unchanged.
func TestFolderRefused(t *testing.T) {
	whole, _ := wholeFolder(t)
	inStore := func(t *testing.T, dir, prefix string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "store", prefix))
		if err != nil || len(found) == 0 {
			t.Fatalf("no file %s in the store: %v", prefix, err)
		}
		return found[len(found)-1]
	}
	otherKey := filepath.Join(t.TempDir(), "other.key")
	if _, err := seal.CreateKeyFile(otherKey); err != nil {
		t.Fatal(err)
	}
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	write(t, passphrase, "correct horse battery")

	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
		args   []string
		want   string
	}{
		{"newer format", func(t *testing.T, dir string) { write(t, dir+"/format", "fluxkeep data folder, format 2, with more\n") }, nil,
			"it has format 2 and was written by a newer version of Fluxkeep"},
		{"format cut", func(t *testing.T, dir string) { write(t, dir+"/format", "fluxkeep data folder, format 1") }, nil, "file format is damaged"},
		{"format of something else", func(t *testing.T, dir string) { write(t, dir+"/format", "hello\n") }, nil, "file format is damaged"},
		{"format empty", func(t *testing.T, dir string) { write(t, dir+"/format", "") }, nil, "file format is damaged"},
		{"format with zeros", func(t *testing.T, dir string) { write(t, dir+"/format", "fluxkeep data folder, format 01\n") }, nil, "file format is damaged"},
		{"format gone", func(t *testing.T, dir string) { remove(t, dir+"/format") }, nil, "no file format"},
		{"key gone", func(t *testing.T, dir string) { remove(t, dir+"/key") }, nil, "key is missing: without it no data can be read; if it was moved, give --key-file"},
		{"key damaged", func(t *testing.T, dir string) { replace(t, dir+"/key", "fluxkeep-key-1:", "fluxkeep-key-1:0") }, nil, "damaged"},
		{"key cut", func(t *testing.T, dir string) { cut(t, dir+"/key", 290) }, nil, "damaged"},
		{"key open to others", func(t *testing.T, dir string) { chmod(t, dir+"/key", 0o644) }, nil, "chmod 600"},
		{"wrong key", func(*testing.T, string) {}, []string{"--key-file=" + otherKey}, "wrong key-encryption key"},
		{"another kind of key", func(*testing.T, string) {}, []string{"--passphrase-file=" + passphrase}, "wrong key-encryption key"},
		{"no passphrase", func(*testing.T, string) {}, []string{"--passphrase-file=" + passphrase + ".not"}, "no such file"},
		{"keyset gone", func(t *testing.T, dir string) { remove(t, dir+"/keyset.json") }, nil, "keyset.json is missing"},
		{"keyset damaged", func(t *testing.T, dir string) { flip(t, dir+"/keyset.json") }, nil, "damaged"},
		{"keyset cut", func(t *testing.T, dir string) { cut(t, dir+"/keyset.json", 100) }, nil, "damaged"},
		{"keyset empty", func(t *testing.T, dir string) { cut(t, dir+"/keyset.json", 0) }, nil, "damaged"},
		{"keyset huge", func(t *testing.T, dir string) { cut(t, dir+"/keyset.json", 16<<20) }, nil, "damaged"},
		{"keyset newer", func(t *testing.T, dir string) { replace(t, dir+"/keyset.json", `"format": 1`, `"format": 2`) }, nil, "newer version"},
		{"store gone", func(t *testing.T, dir string) { removeAll(t, dir+"/store") }, nil, "store is missing or empty"},
		{"store empty", func(t *testing.T, dir string) { removeAll(t, dir+"/store"); mkdir(t, dir+"/store") }, nil, "store is missing or empty"},
		{"store with a lock alone", func(t *testing.T, dir string) {
			removeAll(t, dir+"/store")
			mkdir(t, dir+"/store")
			write(t, dir+"/store/LOCK", "")
		}, nil, "store is missing or empty"},
		{"store's manifest damaged", func(t *testing.T, dir string) { flip(t, inStore(t, dir, "MANIFEST-*")) }, nil, "MANIFEST-"},
		{"store's manifest gone", func(t *testing.T, dir string) { remove(t, inStore(t, dir, "MANIFEST-*")) }, nil, "MANIFEST-"},
		{"store's guard damaged", func(t *testing.T, dir string) { cut(t, inStore(t, dir, "GUARD"), 0) }, nil, "GUARD"},
		{"audit log damaged", func(t *testing.T, dir string) { flip(t, dir+"/audit.log") }, nil, "audit.log: line "},
		{"audit log's end damaged", func(t *testing.T, dir string) { appendTo(t, dir+"/audit.log", "hello") }, nil, "audit.log: line "},
		{"audit log in a folder that is not there", func(*testing.T, string) {}, []string{"--audit-log=/nonexistent/audit.log"}, "/nonexistent/audit.log"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyFolder(t, whole)
			tt.change(t, dir)
			refused(t, dir, tt.want, tt.args...)
		})
	}
}

// The same for a folder whose server was killed, so that its changes are still in
// the store's log.
func TestFolderRefusedAfterCrash(t *testing.T) {
	running := filepath.Join(t.TempDir(), "data")
	ts := start(t, running)
	ts.setUp(t)
	ts.putSecret(t, secretName, secretValue)
	crashed := copyFolder(t, running)
	ts.stop(t)
	logs, err := filepath.Glob(filepath.Join(crashed, "store", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no log in the store: %v", err)
	}
	name := filepath.Join("store", filepath.Base(slices.MaxFunc(logs, func(a, b string) int { return int(fileSize(t, a) - fileSize(t, b)) })))

	again := start(t, copyFolder(t, crashed))
	again.token, again.org = ts.token, ts.org
	if got := again.names(t); !slices.Equal(got, []string{secretName}) {
		t.Errorf("after a crash the names are %q", got)
	}
	for what, change := range map[string]func(t *testing.T, path string){
		"damaged": func(t *testing.T, path string) { flip(t, path) },
		"gone":    func(t *testing.T, path string) { remove(t, path) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := copyFolder(t, crashed)
			change(t, filepath.Join(dir, name))
			refused(t, dir, filepath.Base(name))
		})
	}
}

// A truncated audit log is only found once the store is open. The start is refused
// too, and nothing is lost: with the complete log back in place, the server starts.
func TestFolderAuditLogCut(t *testing.T) {
	dir, ts := wholeFolder(t)
	log := filepath.Join(dir, "audit.log")
	whole, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	write(t, log, string(whole[:strings.IndexByte(string(whole), '\n')+1]))
	if _, err := tryStart(t, testConfig(t, dir)); err == nil || !strings.Contains(err.Error(), "does not contain the checkpoint's line") {
		t.Errorf("error %v", err)
	}
	write(t, log, string(whole))
	again := start(t, dir)
	again.token, again.org = ts.token, ts.org
	if got := again.names(t); !slices.Equal(got, []string{secretName}) {
		t.Errorf("the names are %q", got)
	}
}

// An audit log that was moved away is continued in a new file.
func TestFolderAuditLogMoved(t *testing.T) {
	dir, _ := wholeFolder(t)
	remove(t, filepath.Join(dir, "audit.log"))
	ts := start(t, dir)
	eventually(t, "a line in the new log", func() bool {
		ts.do(t, "GET", "/api/v2/me", "", "Authorization", "Token none")
		return fileSize(t, filepath.Join(dir, "audit.log")) > 0
	})
}

// refused checks that a server doesn't start and leaves no trace.
func refused(t *testing.T, dir, want string, args ...string) {
	t.Helper()
	before := snapshot(t, dir)
	time.Sleep(10 * time.Millisecond) // so that a changed file has another modification time
	ts, err := tryStart(t, testConfig(t, dir, args...))
	if err == nil {
		t.Fatal("the server started")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want one with %q", err, want)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has more than one line", err)
	}
	if log := ts.log.String(); log != "" {
		t.Errorf("logged in addition to the error: %s", log)
	}
	for _, d := range differences(before, snapshot(t, dir)) {
		t.Errorf("changed: %s", d)
	}
}

func TestFolderLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := start(t, dir)
	first.setUp(t)
	first.stop(t)
	running := start(t, dir)
	eventually(t, "the first server's records", func() bool { return running.ready() == nil })
	eventually(t, "the first server's rest", func() bool {
		before := snapshot(t, dir) // the store still cleans up after the start
		time.Sleep(300 * time.Millisecond)
		return len(differences(before, snapshot(t, dir))) == 0
	})
	refused(t, dir, fmt.Sprintf("%v: %s, process %d", datadir.ErrLocked, filepath.Base(os.Args[0]), os.Getpid()))
	if _, err := tryStart(t, testConfig(t, dir)); !errors.Is(err, datadir.ErrLocked) {
		t.Errorf("error %v", err)
	}
	if got := running.do(t, "GET", "/health", ""); got.status != 200 {
		t.Errorf("the first server answers %d", got.status)
	}
}

func TestFolderForeign(t *testing.T) {
	for name, make := range map[string]func(dir string){
		"another's file":   func(dir string) { write(t, dir+"/letters.txt", "hello") },
		"a hidden file":    func(dir string) { write(t, dir+"/.profile", "hello") },
		"another's folder": func(dir string) { mkdir(t, dir+"/letters") },
		"a keyset":         func(dir string) { write(t, dir+"/keyset.json", "{}") },
		"a store":          func(dir string) { mkdir(t, dir+"/store") },
		"a key of no use":  func(dir string) { write(t, dir+"/key", "") },
		"an old audit.log": func(dir string) { write(t, dir+"/audit.log", "") },
		"not a folder":     func(dir string) { removeAll(t, dir); write(t, dir, "hello") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			make(dir)
			refused(t, dir, "open the data folder: ")
		})
	}
}

// A folder that contains only files of its file system and its operator can be used.
func TestFolderAlmostEmpty(t *testing.T) {
	dir := t.TempDir()
	mkdir(t, dir+"/lost+found")
	passphrase, config := dir+"/passphrase", dir+"/fluxkeep.toml"
	write(t, passphrase, "correct horse battery")
	write(t, config, "log-level = \"debug\"\n")
	start(t, dir, "--passphrase-file="+passphrase, "--config="+config)
}

// A first start without its key creates nothing.
func TestFolderFirstStartRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"no passphrase": {"--passphrase-file=/nonexistent/passphrase"},
		"no transit":    {"--transit-address=http://127.0.0.1:1", "--transit-token-file=/nonexistent/token", "--transit-key=k"},
		"wrong ARN":     {"--aws-kms-key=k"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if _, err := tryStart(t, testConfig(t, dir, args...)); err == nil {
				t.Fatal("the server started")
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("the folder was created: %v", err)
			}
		})
	}
}

// An address in use is found before the data folder is touched.
func TestFolderAddressTaken(t *testing.T) {
	dir, _ := wholeFolder(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused(t, dir, "address already in use", "--http-bind-address="+l.Addr().String())
	refused(t, dir, "address already in use", "--pprof-address="+l.Addr().String())
}

// Wherever a first start is interrupted, the next one completes the folder.
func TestFolderCompleted(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "data")
	start(t, whole).stop(t)
	making := "fluxkeep data folder, format 1, being made\n"
	for name, change := range map[string]func(t *testing.T, dir string){
		"nothing":              func(t *testing.T, dir string) { empty(t, dir) },
		"format being written": func(t *testing.T, dir string) { empty(t, dir); write(t, dir+"/format.new", "fluxk") },
		"format alone":         func(t *testing.T, dir string) { empty(t, dir); write(t, dir+"/format", making) },
		"key being written": func(t *testing.T, dir string) {
			empty(t, dir)
			write(t, dir+"/format", making)
			write(t, dir+"/key.new", "# Flux")
		},
		"key": func(t *testing.T, dir string) {
			empty(t, dir, "key")
			write(t, dir+"/format", making)
		},
		"keyset being written": func(t *testing.T, dir string) {
			empty(t, dir, "key")
			write(t, dir+"/format", making)
			write(t, dir+"/keyset.json.new", "{")
		},
		"keyset": func(t *testing.T, dir string) {
			empty(t, dir, "key", "keyset.json")
			write(t, dir+"/format", making)
		},
		"store begun": func(t *testing.T, dir string) {
			empty(t, dir, "key", "keyset.json")
			write(t, dir+"/format", making)
			mkdir(t, dir+"/store")
			write(t, dir+"/store/LOCK", "")
		},
		"store": func(t *testing.T, dir string) {
			empty(t, dir, "key", "keyset.json", "store")
			write(t, dir+"/format", making)
		},
		"all but the end": func(t *testing.T, dir string) {
			write(t, dir+"/format", making)
			write(t, dir+"/format.new", "fluxkeep data")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyFolder(t, whole)
			change(t, dir)
			ts := start(t, dir)
			ts.setUp(t)
			ts.putSecret(t, secretName, secretValue)
			ts.stop(t)
			again := start(t, dir)
			again.token, again.org = ts.token, ts.org
			if got := again.names(t); !slices.Equal(got, []string{secretName}) {
				t.Errorf("after a restart the names are %q", got)
			}
		})
	}
}

// If the folder can't be completed, the error says what to do.
func TestFolderNotCompleted(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "data")
	start(t, whole).stop(t)
	dir := copyFolder(t, whole)
	write(t, dir+"/format", "fluxkeep data folder, format 1, being made\n")
	remove(t, dir+"/key")
	refused(t, dir, "remove it and start again")
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func removeAll(t testing.TB, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func chmod(t testing.TB, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func cut(t testing.TB, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func replace(t testing.TB, path, old, new string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	write(t, path, strings.Replace(string(b), old, new, 1))
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(b)+text)
}

// empty removes everything from a folder except the named files.
func empty(t testing.TB, dir string, but ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(but, e.Name()) {
			removeAll(t, filepath.Join(dir, e.Name()))
		}
	}
}

// TestFolderOfAnotherKind starts a server with the folder of one whose data is
// elsewhere. It says what to do, and changes nothing.
func TestFolderOfAnotherKind(t *testing.T) {
	etcd := []string{"--store=etcd", "--etcd-endpoints=http://127.0.0.1:1"}
	for _, tt := range []struct {
		name, format string
		args         []string
		want         string
	}{
		{"of a server with etcd", "fluxkeep data folder, format 1, of server 00000000000000a1\n", nil, "give --store etcd"},
		{"of a server with etcd, being made", "fluxkeep data folder, format 1, of server 00000000000000a1, being made\n", nil, "give --store etcd"},
		{"with data of its own", "fluxkeep data folder, format 1\n", etcd, "holds data of its own"},
		{"of no server", "fluxkeep data folder, format 1, of server 0\n", etcd, "file format is damaged"},
		{"newer", "fluxkeep data folder, format 2, of server 00000000000000a1\n", etcd, "newer version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/format", tt.format)
			_, err := tryStart(t, testConfig(t, dir, tt.args...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if got, err := os.ReadFile(dir + "/format"); err != nil || string(got) != tt.format {
				t.Errorf("the folder was changed: %q, %v", got, err)
			}
		})
	}
}
