package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// server is the program, serving its own data folder. When the test ends, the data
// folder and the log are searched for confidential text.
type server struct {
	t        testing.TB
	program  string
	url      string
	dir      string // the data folder
	home     string // of the clients
	logFile  string
	args     []string
	cmd      *exec.Cmd
	exited   chan error
	troubled bool // its log may contain errors
	secrets  confidential
	password string
	user     string
	org      string
	// After the setup:
	token string // the operator's
	orgID string
}

// start runs a new server.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	return startAt(t, anyAddress, args...)
}

func startAt(t testing.TB, address string, args ...string) *server {
	t.Helper()
	return startProgram(t, program, address, args...)
}

func startProgram(t testing.TB, program, address string, args ...string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{
		t: t, program: program, dir: filepath.Join(dir, "data"), home: filepath.Join(dir, "home"), logFile: filepath.Join(dir, "log"),
		args:    append([]string{"--log-format", "json", "--log-level", "debug"}, args...),
		secrets: confidential{name: randomWord(), other: randomWord()},
	}
	s.password, s.user, s.org = s.private("password"), s.private("admin"), s.private("acme")
	if err := os.Mkdir(s.home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.checkNothingReadable()
		s.stop()
		s.checkNothingReadable()
		s.checkLog()
	})
	s.serve(address)
	return s
}

// startSetUp runs a server that is set up.
func startSetUp(t testing.TB, args ...string) *server {
	t.Helper()
	s := start(t, args...)
	s.setUp()
	return s
}

func (s *server) setUp() client.SetupResult {
	s.t.Helper()
	r, err := s.client("").Setup(s.t.Context(), client.SetupRequest{Username: s.user, Password: s.password, Org: s.org, Bucket: "default"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.token, s.orgID = s.confide(r.Auth.Token), r.Org.ID
	return r
}

// anyAddress stands for a free address that a restarted server can use again.
const anyAddress = ""

// newAddress returns an address with a port below the range from which systems choose
// ports: another process could get such a port as soon as the server has stopped. No two
// tests get the same, and tests in other folders use other ranges.
func newAddress() string {
	return fmt.Sprintf("127.0.0.1:%d", 20_000+(firstPort+addresses.Add(1))%6_000)
}

var (
	firstPort = rand.Int64N(6_000) // another run of the tests probably has another one
	addresses atomic.Int64
)

// serve starts the process and waits until it listens.
func (s *server) serve(address string) {
	s.t.Helper()
	for attempt := range 20 {
		at := address
		if at == anyAddress {
			at = newAddress()
		}
		// Another process may use the port for a moment.
		if time.Sleep(time.Duration(attempt) * 50 * time.Millisecond); s.tryServe(at) {
			return
		}
	}
	s.t.Fatalf("the server does not start:\n%s", s.log())
}

func (s *server) tryServe(address string) bool {
	s.t.Helper()
	from := len(s.log())
	out, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	// Without command, since the server outlives the test's context.
	s.cmd = exec.Command(s.program, append([]string{"serve", "--http-bind-address", address, "--data-dir", s.dir}, s.args...)...)
	s.cmd.Env = append(cleanEnviron(), "HOME="+s.home)
	if s.program != program {
		s.cmd.Env = append(s.cmd.Env, "FLUXKEEP_FAILPOINTS="+s.faults())
	}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan<- error) { exited <- cmd.Wait() }(s.cmd, s.exited)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if url := listening(s.log()[from:]); url != "" {
			if s.url != url { // other goroutines may be using an unchanged URL
				s.url = url
			}
			return true
		}
		select {
		case <-s.exited:
			s.cmd = nil
			return false
		default:
		}
	}
	s.t.Fatalf("the server does not say where it listens:\n%s", s.log())
	return false
}

// listening returns the address in a log, or "" if it isn't there yet.
func listening(log string) string {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
			return "http://" + entry.Address
		}
	}
	return ""
}

func (s *server) log() string {
	b, err := os.ReadFile(s.logFile)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(b)
}

// address returns the address for clients.
func (s *server) address() string { return strings.TrimPrefix(s.url, "http://") }

// stop stops the server with SIGTERM.
func (s *server) stop() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("stop the server: %v", err)
	}
	if err := s.wait(); err != nil {
		s.t.Errorf("the server ends with %v:\n%s", err, s.log())
	}
}

// kill kills the server.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.wait() // "signal: killed"
}

func (s *server) wait() error {
	s.t.Helper()
	defer func() { s.cmd = nil }()
	select {
	case err := <-s.exited:
		return err
	case <-time.After(2 * time.Minute):
		s.t.Fatalf("the server does not end:\n%s", s.log())
		return nil
	}
}

// again restarts the server with the same data and address.
func (s *server) again() {
	s.t.Helper()
	s.serve(s.address())
}

// faults is the file that pushes the server's clock, if its program can do that.
func (s *server) faults() string { return s.logFile + ".faults" }

// pushClock pushes the server's clock until it is pushed by 0.
func (s *server) pushClock(by time.Duration) {
	s.t.Helper()
	file := s.faults()
	err := os.WriteFile(file+".new", []byte("clock "+by.String()), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		s.t.Error(err)
	}
}

// copyFolder copies the data folder of a running server. It begins again if the server has
// removed a file in the meantime.
func (s *server) copyFolder() (copied string) {
	s.t.Helper()
	eventually(s.t, "copy without a missing file", func() bool {
		copied = filepath.Join(s.t.TempDir(), "copied")
		err := os.CopyFS(copied, os.DirFS(s.dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
		return err == nil
	})
	return copied
}

// checkLog reports errors in the server's log.
func (s *server) checkLog() {
	s.t.Helper()
	lines := bufio.NewScanner(strings.NewReader(s.log()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if l := lines.Text(); strings.Contains(l, "DATA RACE") || strings.Contains(l, "panic") || strings.Contains(l, `"level":"ERROR"`) && !s.troubled {
			s.t.Errorf("the server's log has: %s", l)
		}
	}
}

// client returns a client of the public module.
func (s *server) client(token string) *client.Client {
	s.t.Helper()
	c, err := client.New(client.Config{URL: s.url, Token: token})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// operator returns a client with an operator token.
func (s *server) operator() *client.Client { return s.client(s.token) }

// newToken creates a token for the organization's secrets.
func (s *server) newToken(actions ...client.Action) client.Token {
	s.t.Helper()
	t, err := s.operator().CreateToken(s.t.Context(), client.NewToken{OrgID: s.orgID, Permissions: client.SecretPermissions(s.orgID, actions...)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.confide(t.Token)
	return t
}

// set sets secrets, and leaves all others.
func (s *server) set(secrets map[string]string) {
	s.t.Helper()
	change := map[string]*string{}
	for name, value := range secrets {
		change[name] = &value
	}
	if _, err := s.operator().WriteValues(s.t.Context(), s.orgID, change, nil); err != nil {
		s.t.Fatal(err)
	}
}

// values returns all secrets.
func (s *server) values() map[string]string {
	s.t.Helper()
	v, _, err := s.operator().Values(s.t.Context(), s.orgID, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return v.Secrets
}

func (s *server) wantValues(want map[string]string) {
	s.t.Helper()
	if got := s.values(); !maps.Equal(got, want) {
		s.t.Errorf("the secrets are %q, want %q", got, want)
	}
}

// do sends a request without a client library.
func (s *server) do(method, path, token string, body []byte) (status int, answer []byte, err error) {
	q, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	q.Header.Set("X-Vault-Token", token)
	if token != "" {
		q.Header.Set("Authorization", "Token "+token)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r.Body)
	return r.StatusCode, b.Bytes(), err
}

// fluxkeep runs the program as a client, with the operator's token, and
// returns what it prints.
func (s *server) fluxkeep(stdin string, args ...string) string {
	s.t.Helper()
	cmd := command(s.t, s.home, program, args...)
	cmd.Env = append(cmd.Env, "INFLUX_HOST="+s.url, "INFLUX_TOKEN="+s.token, "INFLUX_ORG="+s.org)
	cmd.Stdin = strings.NewReader(stdin)
	return output(s.t, cmd)
}

// secretName returns a unique name for a secret, of letters, digits and underscores,
// that the search recognizes.
func (s *server) secretName(prefix string) string { return prefix + "_" + s.secrets.name }

// private returns a unique value, password, or name of a user or an organization that
// the search recognizes.
func (s *server) private(prefix string) string { return prefix + "-" + s.secrets.other }

// confide adds a text, usually a token, to those that must not be readable.
func (s *server) confide(text string) string {
	s.t.Helper()
	if len(text) < 16 {
		s.t.Fatalf("%q is no token", text)
	}
	s.secrets.add(text)
	return text
}

// randomWord returns a word that doesn't occur anywhere else.
func randomWord() string {
	b := make([]byte, 14)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}
