package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/cli/profile"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"fluxkeep": func() { os.Exit(Main()) },
	})
}

// canary is part of every value and password in the scripts. It must not appear in a
// log.
const canary = "s3cret"

// TestScripts runs the scripts of testdata/script. In addition to testscript's commands,
// they have these:
//
//	server [FLAG…]    starts a server; $SERVER is its URL, which stays the same after a shutdown
//	setup             starts a server and sets it up: user admin, organization acme
//	shutdown [SIGNAL] stops the server, by default with TERM; testscript's own command
//	                  stop would end the script
//	await FILE REGEXP waits until the file has matching text
//	influxd JSON      writes a whole document as influxd does
//	influxdb          starts a server at $INFLUXDB that answers as an InfluxDB, and
//	                  fails the test if it receives a change
//	damage FOLDER     changes a byte of every secret record of a data folder
func TestScripts(t *testing.T) {
	files, err := filepath.Abs(boltFiles)
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if race.Enabled && testing.Short() {
		// Each command starts a process, which takes long with the race detector. These
		// scripts run what is concurrent.
		scripts = []string{"testdata/script/run_watch.txtar", "testdata/script/serve.txtar"}
	}
	testscript.Run(t, testscript.Params{
		Files:               scripts,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("BOLTFILES", files)
			// The default address may be in use, for example by another test.
			e.Setenv("FLUXKEEP_HTTP_BIND_ADDRESS", "127.0.0.1:0")
			e.Setenv("INFLUX_CONFIGS_PATH", filepath.Join(e.WorkDir, "configs"))
			s := &scriptServer{}
			e.Values[serverKey{}] = s
			e.Defer(s.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":   cmdServer,
			"setup":    cmdSetup,
			"shutdown": cmdShutdown,
			"await":    cmdAwait,
			"influxd":  cmdInfluxd,
			"influxdb": cmdInfluxDB,
			"damage":   cmdDamage,
		},
	})
}

type serverKey struct{}

// scriptServer is a real server in its own process.
type scriptServer struct {
	cmd     *exec.Cmd
	address string
	log     *os.File
}

func serverOf(ts *testscript.TestScript) *scriptServer {
	return ts.Value(serverKey{}).(*scriptServer)
}

// The next script's server has the port after the last one's. Another run of the tests
// probably begins elsewhere.
var (
	firstPort = rand.Int64N(4_000)
	addresses atomic.Int64
)

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts)
	if neg || s.cmd != nil {
		ts.Fatalf("usage: server [flag…], once")
	}
	for range 20 {
		// A port below the range from which systems choose ports: another process could get
		// such a port while the server is stopped. No two scripts get the same, and tests
		// in other folders use other ranges.
		address := cmp.Or(s.address, fmt.Sprintf("127.0.0.1:%d", 26_000+(firstPort+addresses.Add(1))%4_000))
		if s.start(ts, address, args) {
			ts.Setenv("SERVER", "http://"+s.address)
			return
		}
	}
	ts.Fatalf("the server did not start: %s", ts.ReadFile("server.log"))
}

// start starts the server and waits until it listens. It returns false if the server
// exits before, because another process may use the port.
func (s *scriptServer) start(ts *testscript.TestScript, address string, args []string) bool {
	path, err := lookIn(ts.Getenv("PATH"), "fluxkeep")
	ts.Check(err)
	args = append([]string{"serve", "--data-dir", ts.MkAbs("data"), "--http-bind-address", address}, args...)
	s.cmd = exec.Command(path, args...)
	s.cmd.Env = []string{"HOME=" + ts.MkAbs("."), "PATH=" + ts.Getenv("PATH")}
	s.log, err = os.OpenFile(ts.MkAbs("server.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	ts.Check(err)
	r, err := s.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	found := make(chan string)
	go s.copyLog(r, found)
	select {
	case address = <-found:
	case <-time.After(time.Minute):
		ts.Fatalf("the server did not start: %s", ts.ReadFile("server.log"))
	}
	if address == "" {
		s.end()
		return false
	}
	s.address = address
	return true
}

// copyLog copies the server's log and sends the server's address, or nothing if the log
// ends without one.
func (s *scriptServer) copyLog(r io.Reader, found chan<- string) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fmt.Fprintln(s.log, lines.Text())
		if m := listening.FindStringSubmatch(lines.Text()); m != nil && found != nil {
			found <- m[1]
			found = nil
		}
	}
	if found != nil {
		found <- ""
	}
}

func lookIn(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

func cmdSetup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: setup")
	}
	cmdServer(ts, false, nil)
	ts.Check(os.WriteFile(ts.MkAbs("password"), []byte(canary+" password"), 0o600))
	ts.Check(ts.Exec("fluxkeep", "setup", "--host", ts.Getenv("SERVER"), "--username", "admin", "--org", "acme",
		"--password-file", "password", "--quiet"))
}

func cmdShutdown(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts)
	if neg || s.cmd == nil || len(args) > 1 {
		ts.Fatalf("usage: shutdown [signal], after server")
	}
	sig := syscall.SIGTERM
	if len(args) == 1 && args[0] == "KILL" {
		sig = syscall.SIGKILL
	}
	ts.Check(s.cmd.Process.Signal(sig))
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && (sig != syscall.SIGKILL || !errors.As(err, &exit)) {
		ts.Fatalf("the server ended with %v: %s", err, ts.ReadFile("server.log"))
	}
	s.cmd = nil
	checkLog(ts, "server.log")
	checkLog(ts, "data/audit.log")
}

// checkLog checks that a log contains no value and no password.
func checkLog(ts *testscript.TestScript, name string) {
	if strings.Contains(ts.ReadFile(name), canary) {
		ts.Fatalf("%s has a value or a password in it:\n%s", name, ts.ReadFile(name))
	}
}

func (s *scriptServer) end() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// cmdInfluxd writes without check-and-set, as influxd's notification endpoints
// do.
func cmdInfluxd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: influxd json")
	}
	file, err := profile.Load(ts.Getenv("INFLUX_CONFIGS_PATH"))
	ts.Check(err)
	body := strings.NewReader(`{"data":` + args[0] + `}`)
	r, err := http.NewRequest(http.MethodPut, ts.Getenv("SERVER")+"/influxd/v1/secret/data/acme", body)
	ts.Check(err)
	r.Header.Set("X-Vault-Token", file.Profiles["default"].Token)
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		ts.Fatalf("the server answered %s: %s", resp.Status, text)
	}
}

func cmdInfluxDB(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: influxdb")
	}
	var changes atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			changes.Add(1)
		}
		w.Header().Set("X-Influxdb-Version", "v2.9.1")
		fmt.Fprint(w, "{}")
	}))
	ts.Defer(func() {
		s.Close()
		if n := changes.Load(); n > 0 {
			ts.Fatalf("an InfluxDB was asked %d times to change something", n)
		}
	})
	ts.Setenv("INFLUXDB", s.URL)
}

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await file regexp")
	}
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	var text []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if text, _ = os.ReadFile(ts.MkAbs(args[0])); want.Match(text) {
			return
		}
	}
	ts.Fatalf("%s does not have %s:\n%s", args[0], args[1], text)
}
