package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
	"go.uber.org/goleak"
)

// TestMain lets the tests run this binary as a server. After the tests, it checks that
// no goroutine is left.
func TestMain(m *testing.M) {
	if os.Getenv("FLUXKEEP_TEST_SERVE") == "" {
		goleak.VerifyTestMain(closeIdle{m})
	}
	c := config.New()
	c.PasswordCost = 4
	err := c.Flags().Parse(os.Args[1:])
	if err == nil {
		err = c.Load(os.Environ())
	}
	if err == nil {
		err = Run(context.Background(), c, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

// closeIdle closes the idle connections of the default client after the tests, so that
// every remaining goroutine is a server's.
type closeIdle struct{ *testing.M }

func (m closeIdle) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	return m.M.Run()
}

// process is a server in its own process.
type process struct {
	cmd   *exec.Cmd
	lines chan string // its log
	exit  chan error
}

func startProcess(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := &process{lines: make(chan string, 10_000), exit: make(chan error, 1)}
	p.cmd = exec.Command(os.Args[0], append([]string{"--http-bind-address=127.0.0.1:0", "--data-dir=" + dir}, args...)...)
	p.cmd.Env = append(os.Environ(), "FLUXKEEP_TEST_SERVE=1")
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		p.exit <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// await returns the next line of the log that contains text.
func (p *process) await(t testing.TB, text string) string {
	t.Helper()
	var seen []string
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the process ended without %q: %q", text, seen)
			}
			if strings.Contains(line, text) {
				return line
			}
			seen = append(seen, line)
		case <-deadline:
			t.Fatalf("no line with %q: %q", text, seen)
		}
	}
}

// url waits until the server listens and returns its URL.
func (p *process) url(t testing.TB) string {
	t.Helper()
	_, rest, _ := strings.Cut(p.await(t, "msg=listening"), "address=")
	addr, _, _ := strings.Cut(rest, " ")
	return "http://" + addr
}

func (p *process) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (p *process) wait(t testing.TB) error {
	t.Helper()
	for {
		select {
		case <-p.lines:
		case err := <-p.exit:
			return err
		case <-time.After(patience):
			t.Fatal("the process does not end")
		}
	}
}

func TestSignals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := startProcess(t, dir)
		p.url(t)
		p.signal(t, s)
		if err := p.wait(t); err != nil {
			t.Errorf("after %v: %v", s, err)
		}
	}
}

// After a second signal, the server doesn't wait for requests in flight.
func TestSecondSignal(t *testing.T) {
	p := startProcess(t, filepath.Join(t.TempDir(), "data"), "--shutdown-timeout=1h")
	url := p.url(t)
	body := slowRequest(t, strings.TrimPrefix(url, "http://"), "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	defer body.Close()
	eventuallyInFlight(t, url)
	p.signal(t, syscall.SIGTERM)
	p.await(t, "shutting down")
	p.signal(t, syscall.SIGTERM)
	var exit *exec.ExitError
	if err := p.wait(t); !errors.As(err, &exit) {
		t.Errorf("the process ended with %v", err)
	}
}

func TestHangup(t *testing.T) {
	dir, config := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "fluxkeep.toml")
	write(t, config, "log-level = \"info\"\n")
	p := startProcess(t, dir, "--config="+config)
	url := p.url(t)
	get := func() {
		t.Helper()
		ts := &testServer{url: url, client: http.DefaultClient, token: "unknown"}
		if a := ts.do(t, "GET", "/api/v2/me", ""); a.status != http.StatusUnauthorized {
			t.Fatalf("answered %d", a.status)
		}
	}
	get()
	// As logrotate does: rename the file, then send the signal.
	if err := os.Rename(dir+"/audit.log", dir+"/audit.log.1"); err != nil {
		t.Fatal(err)
	}
	write(t, config, "log-level = \"debug\"\nmax-connections = 7\n")
	p.signal(t, syscall.SIGHUP)
	if line := p.await(t, "needs a restart"); !strings.Contains(line, "max-connections") {
		t.Errorf("logged %q", line)
	}
	p.await(t, "msg=reloaded")
	get()
	p.await(t, "msg=request")
	eventually(t, "a line in the new audit log", func() bool { return fileSize(t, dir+"/audit.log") > 0 })

	write(t, config, "log-level = \"loud\"\n")
	p.signal(t, syscall.SIGHUP)
	p.await(t, "configuration can't be read")
	get()
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
}

// A first start that is killed at any moment leaves a folder that the next start
// completes.
func TestFirstStartKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	for delay := time.Duration(0); delay < 200*time.Millisecond; delay += 10 * time.Millisecond {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(delay.Milliseconds()))
		p := startProcess(t, dir)
		time.Sleep(delay)
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.wait(t) // it was killed
		ts := start(t, dir)
		ts.setUp(t)
		ts.putSecret(t, secretName, secretValue)
		ts.stop(t)
		if text, _ := os.ReadFile(filepath.Join(dir, "format")); string(text) != "fluxkeep data folder, format 1\n" {
			t.Errorf("killed after %v: format says %q", delay, text)
		}
	}
}

// An acknowledged write survives the end of the process.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startProcess(t, dir)
	ts := &testServer{url: p.url(t), client: &http.Client{Transport: &http.Transport{}}}
	ts.setUp(t)
	ts.putSecret(t, secretName, secretValue)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.wait(t) // it was killed
	again := start(t, dir)
	again.token, again.org = ts.token, ts.org
	if got := again.names(t); !slices.Equal(got, []string{secretName}) {
		t.Errorf("the names are %q", got)
	}
}

// slowRequest sends part of a request.
func slowRequest(t testing.TB, addr, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// eventuallyInFlight waits until a request other than the one for the metrics is in
// flight.
func eventuallyInFlight(t testing.TB, url string) {
	t.Helper()
	eventually(t, "a request in flight", func() bool {
		res, err := http.Get(url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(b), "\nfluxkeep_http_requests_in_flight 2\n")
	})
}

// Requests in flight are finished, new ones are refused in the protocol's form, and
// then everything is closed and durable.
func TestShutdown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ts := start(t, dir)
	ts.setUp(t)
	body := fmt.Sprintf(`{%q:%q}`, secretName, secretValue)
	inFlight := slowRequest(t, ts.Addr().String(), fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\nContent-Length: %d\r\n\r\n%s",
		ts.secrets(), ts.token, len(body), body[:10]))
	eventually(t, "a request in flight", func() bool { return ts.handler.inFlight.Load() == 1 })

	ended := make(chan error, 1)
	go func() { ended <- ts.Shutdown(t.Context()) }()
	eventually(t, "draining", ts.handler.draining.Load)
	for path, want := range map[string]string{
		ts.secrets():          "{\n\t\"code\": \"unavailable\",\n\t\"message\": \"the server is shutting down\"\n}",
		"/v1/secret/data/xyz": `{"errors":["the server is shutting down"]}`,
	} {
		a := ts.do(t, "GET", path, "")
		if a.status != 503 || strings.TrimSpace(a.body) != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := ts.do(t, "GET", "/ready", ""); a.status != 503 {
		t.Errorf("/ready: %d %s", a.status, a.body)
	}
	if a := ts.do(t, "GET", "/ping", ""); a.status != 204 {
		t.Errorf("/ping: %d", a.status)
	}
	select {
	case err := <-ended:
		t.Fatalf("ended with a request in flight: %v", err)
	default:
	}

	if _, err := io.WriteString(inFlight, body[10:]); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(inFlight), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 204 {
		t.Errorf("the request in flight got %d", res.StatusCode)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ts.Addr().String()); err == nil {
		t.Error("the server still listens")
	}
	again := start(t, dir)
	again.token, again.org = ts.token, ts.org
	if got := again.names(t); !slices.Equal(got, []string{secretName}) {
		t.Errorf("after the restart the names are %q", got)
	}
}

// Requests that don't finish in time are canceled.
func TestShutdownTimeout(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"))
	slowRequest(t, ts.Addr().String(), "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	eventually(t, "a request in flight", func() bool { return ts.handler.inFlight.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ts.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if !strings.Contains(ts.log.String(), "requests are cut off") {
		t.Errorf("logged %s", ts.log)
	}
}

// A request that waits for a change doesn't delay shutdown.
func TestShutdownEndsWaiting(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"))
	ts.setUp(t)
	ts.putSecret(t, secretName, secretValue)
	tag := ts.do(t, "GET", ts.secrets()+"/values", "").header.Get("ETag")
	answered := make(chan answer, 1)
	go func() {
		a, err := ts.try("GET", ts.secrets()+"/values?wait=5m", "", "If-None-Match", tag)
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	eventually(t, "a request in flight", func() bool { return ts.handler.inFlight.Load() == 1 })
	begin := time.Now()
	if err := ts.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("it took %v", took)
	}
	if a := <-answered; a.status != http.StatusNotModified {
		t.Errorf("the waiting request got %d", a.status)
	}
}

// Run also returns when its context ends, and returns an error if it can't start.
func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(t.Context())
	log := new(logtest.Log)
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, testConfig(t, dir), log) }()
	eventually(t, "listening", func() bool { return strings.Contains(log.String(), "msg=listening") })
	if err := Run(t.Context(), testConfig(t, dir), io.Discard); !errors.Is(err, datadir.ErrLocked) {
		t.Errorf("a second server: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "shut down") {
		t.Errorf("logged %s", log)
	}
}

func TestAnnounce(t *testing.T) {
	for _, tt := range []struct {
		name, addr string
		warns      bool
	}{
		{"loopback", "127.0.0.1:0", false}, {"IPv6 loopback", "[::1]:0", false}, {"all", "0.0.0.0:0", true}, {"all by default", ":0", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig(t, filepath.Join(t.TempDir(), "data"), "--http-bind-address="+tt.addr)
			ts, err := tryStart(t, c)
			if err != nil {
				if tt.addr == "[::1]:0" {
					t.Skip("no IPv6 here")
				}
				t.Fatal(err)
			}
			if got := strings.Contains(ts.log.String(), "TLS is off"); got != tt.warns {
				t.Errorf("warned %v: %s", got, ts.log)
			}
			if n := strings.Count(ts.log.String(), "msg=listening"); n != 1 {
				t.Errorf("%d lines say where it listens: %s", n, ts.log)
			}
		})
	}
}

func TestPprof(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--pprof-address=127.0.0.1:0")
	addr := ts.profilesListener.Addr().String()
	res, err := http.Get("http://" + addr + "/debug/pprof/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	if a := ts.do(t, "GET", "/debug/pprof/", ""); a.status != 404 {
		t.Errorf("profiles on the main address: %d", a.status)
	}
	ts.stop(t)
	if res, err := http.Get("http://" + addr + "/debug/pprof/cmdline"); err == nil {
		res.Body.Close()
		t.Error("profiles are served after the end")
	}
}
