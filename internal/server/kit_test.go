package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
)

// Texts that must only appear in answers to requests for them.
const (
	secretName  = "marker-name-9f31c2"
	secretValue = "marker-value-77aa01"
	password    = "marker-password-51be"
)

// patience bounds every wait. It is long, since the machine may be slow.
const patience = 2 * time.Minute

// testServer is a server on its own port, with a client for it.
type testServer struct {
	*Server
	url    string
	log    *logtest.Log
	client *http.Client
	token  string // of the operator, once set up
	org    string
}

// testConfig returns the configuration for a data folder, and further flags.
func testConfig(t testing.TB, dir string, args ...string) *config.Config {
	t.Helper()
	c := config.New()
	if err := c.Flags().Parse(append([]string{"--http-bind-address=127.0.0.1:0", "--data-dir=" + dir, "--log-level=debug"}, args...)); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(nil); err != nil {
		t.Fatal(err)
	}
	c.Version, c.Commit = "1.2.3", "abcdef"
	c.PasswordCost = 4
	return c
}

func tryStart(t testing.TB, c *config.Config) (*testServer, error) {
	t.Helper()
	ts := &testServer{log: new(logtest.Log), client: &http.Client{Transport: &http.Transport{}, Timeout: patience}}
	logger, level := NewLogger(ts.log, c)
	var err error
	if ts.Server, err = Start(t.Context(), c, logger, level); err != nil {
		return ts, err
	}
	ts.url = "http://" + ts.Addr().String()
	if c.TLSCert != "" {
		ts.url = "https://" + ts.Addr().String()
	}
	t.Cleanup(func() {
		ts.client.CloseIdleConnections()
		if err := ts.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", ts.log)
		}
	})
	return ts, nil
}

func start(t testing.TB, dir string, args ...string) *testServer {
	t.Helper()
	ts, err := tryStart(t, testConfig(t, dir, args...))
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// stop ends the server and waits for it.
func (ts *testServer) stop(t testing.TB) {
	t.Helper()
	ts.client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := ts.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (ts *testServer) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	a, err := ts.try(method, path, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (ts *testServer) try(method, path, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, ts.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if ts.token != "" {
		req.Header.Set("Authorization", "Token "+ts.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := ts.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// setUp sets up a new server and stores the operator token.
func (ts *testServer) setUp(t testing.TB) {
	t.Helper()
	a := ts.do(t, "POST", "/api/v2/setup", fmt.Sprintf(`{"username":"ann","password":%q,"org":"acme","bucket":"b"}`, password))
	if a.status != http.StatusCreated {
		t.Fatalf("setup: %d %s", a.status, a.body)
	}
	var made struct {
		Org  struct{ ID string }
		Auth struct{ Token string }
	}
	if err := json.Unmarshal([]byte(a.body), &made); err != nil {
		t.Fatal(err)
	}
	ts.token, ts.org = made.Auth.Token, made.Org.ID
}

func (ts *testServer) secrets() string { return "/api/v2/orgs/" + ts.org + "/secrets" }

func (ts *testServer) putSecret(t testing.TB, name, value string) {
	t.Helper()
	b, err := json.Marshal(map[string]string{name: value})
	if err != nil {
		t.Fatal(err)
	}
	if a := ts.do(t, "PATCH", ts.secrets(), string(b)); a.status != http.StatusNoContent {
		t.Fatalf("PATCH: %d %s", a.status, a.body)
	}
}

func (ts *testServer) names(t testing.TB) []string {
	t.Helper()
	var list struct{ Secrets []string }
	a := ts.do(t, "GET", ts.secrets(), "")
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK {
		t.Fatalf("GET: %d %s", a.status, a.body)
	}
	return list.Secrets
}

// wholeFolder creates a data folder by running a server in it, and returns the folder
// and the stopped server.
func wholeFolder(t testing.TB, args ...string) (string, *testServer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ts := start(t, dir, args...)
	ts.setUp(t)
	ts.putSecret(t, secretName, secretValue)
	ts.stop(t)
	return dir, ts
}

// snapshot describes all files below a folder: name, mode, modification time and
// content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if filepath.Base(path) != "LOCK" { // it is empty, and the store's engine touches it
			text += fmt.Sprintf(" %d", info.ModTime().UnixNano())
		}
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
		}
		out[strings.TrimPrefix(path, dir)] = text
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return out
}

// differences returns the files in which two snapshots differ.
func differences(before, after map[string]string) []string {
	var out []string
	for name, was := range before {
		if is, ok := after[name]; !ok {
			out = append(out, name+" is gone")
		} else if is != was {
			out = append(out, name+" was "+was+", is "+is)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			out = append(out, name+" is new")
		}
	}
	slices.Sort(out)
	return out
}

// copyFolder copies a folder, including modification times.
func copyFolder(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, strings.TrimPrefix(path, from)), info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit in the middle of a file.
func flip(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until cond returns true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}
