package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// server is the program, serving from a data folder of its own. When the test
// ends, its data folder and its log are searched for all that is confidential.
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
	troubled bool // its log may tell of errors
	secrets  confidential
	password string
	user     string
	org      string
	// After the setup:
	token string // the operator's
	orgID string
}

// start runs a server that is not set up.
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

// anyAddress stands for one that nobody has, and that a server which is started
// again can have again.
const anyAddress = ""

// newAddress makes an address with a port below those that systems give to
// connections, and to servers that ask for any port: one of these would take it
// as soon as the server has ended.
func newAddress() string { return fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)) }

// serve starts the process and waits until it listens.
func (s *server) serve(address string) {
	s.t.Helper()
	for attempt := range 20 {
		at := address
		if at == anyAddress {
			at = newAddress()
		}
		// Another may have the port, for a moment.
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
	// Not by command: it outlives the test's context until the cleanup.
	s.cmd = exec.Command(s.program, append([]string{"serve", "--http-bind-address", address, "--data-dir", s.dir}, s.args...)...)
	s.cmd.Env = append(cleanEnviron(), "HOME="+s.home)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan<- error) { exited <- cmd.Wait() }(s.cmd, s.exited)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if url := listening(s.log()[from:]); url != "" {
			if s.url != url { // others may be using it, when it is the same again
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

// listening finds the address in a log, "" if it is not there yet.
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

// address is what clients connect to.
func (s *server) address() string { return strings.TrimPrefix(s.url, "http://") }

// stop ends the server as an operator does.
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

// kill ends the server as a crash does.
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

// again serves the same data at the same address.
func (s *server) again() {
	s.t.Helper()
	s.serve(s.address())
}

// checkLog reports what a server must never have to say.
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

// client makes a client of the public package.
func (s *server) client(token string) *client.Client {
	s.t.Helper()
	c, err := client.New(client.Config{URL: s.url, Token: token})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// operator is a client that may do everything.
func (s *server) operator() *client.Client { return s.client(s.token) }

// newToken makes a token for the organization's secrets.
func (s *server) newToken(actions ...client.Action) client.Token {
	s.t.Helper()
	t, err := s.operator().CreateToken(s.t.Context(), client.NewToken{OrgID: s.orgID, Permissions: client.SecretPermissions(s.orgID, actions...)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.confide(t.Token)
	return t
}

// set sets secrets; those that are not given stay.
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

// do sends a request as a client without a library does.
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

// secretName makes the name of a secret that can be told from all else, of
// letters, digits and underscores.
func (s *server) secretName(prefix string) string { return prefix + "_" + s.secrets.name }

// private makes a value, a password, or the name of a user or an organization
// that can be told from all else.
func (s *server) private(prefix string) string { return prefix + "-" + s.secrets.other }

// confide tells that a text, a token as a rule, is confidential.
func (s *server) confide(text string) string {
	s.t.Helper()
	if len(text) < 16 {
		s.t.Fatalf("%q is no token", text)
	}
	s.secrets.add(text)
	return text
}

// randomWord makes a word that stands nowhere by accident.
func randomWord() string {
	b := make([]byte, 14)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}
