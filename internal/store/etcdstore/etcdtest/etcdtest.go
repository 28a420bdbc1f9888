//go:build unix

// Package etcdtest runs etcd clusters for tests: real members as processes on
// loopback, each behind a proxy that can disturb its connections. It needs a
// system with POSIX signals.
//
// etcd is built from its module once, and kept in the user's cache folder, and so are
// its tools. FLUXKEEP_ETCD names another etcd.
package etcdtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/race"
)

// Options are the options of a cluster.
type Options struct {
	// Members is the number of members. Default: 1.
	Members int
	// Durable makes the members sync their disks. Otherwise, their data survives
	// Kill, but not a crash of the machine.
	Durable bool
	// TLS are the files of the members' certificate, its key and its authority.
	// Without them, the members speak HTTP.
	TLS *TLSFiles
	// Args are more arguments for each member, such as
	// "--quota-backend-bytes=16777216".
	Args []string
}

// Cluster is a running cluster.
type Cluster struct {
	Members []*Member
	token   string
}

// Member is a member of a cluster.
type Member struct {
	*Proxy
	tb        testing.TB
	cluster   *Cluster
	name      string
	dir       string
	peer      string // address for other members
	client    string // address for clients, behind the proxy
	scheme    string // for clients
	args      []string
	cmd       *exec.Cmd
	output    *output
	exited    chan struct{}
	restarted bool
}

// Start starts a cluster for a test, which stops it in the end. It skips the test
// without a program for etcd, and in short mode if the cluster has several members,
// unless the race detector looks for what they find.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	if o.Members > 1 && testing.Short() && !race.Enabled {
		tb.Skipf("starts %d members of etcd; skipped with -short", o.Members)
	}
	program := Program(tb, "etcd")
	c := &Cluster{token: fmt.Sprintf("test-%d", time.Now().UnixNano())}
	for i := range max(o.Members, 1) {
		m := &Member{tb: tb, cluster: c, name: fmt.Sprintf("m%d", i), dir: tb.TempDir(), args: slices.Clone(o.Args)}
		if !o.Durable {
			m.args = append(m.args, "--unsafe-no-fsync")
		}
		m.peer, m.client = freeAddress(tb), freeAddress(tb)
		scheme := "http"
		if o.TLS != nil {
			scheme = "https"
			m.args = append(m.args, "--cert-file", o.TLS.Cert, "--key-file", o.TLS.Key, "--trusted-ca-file", o.TLS.CA, "--client-cert-auth")
		}
		m.scheme = scheme
		m.Proxy = newProxy(tb, scheme, m.client)
		c.Members = append(c.Members, m)
	}
	for _, m := range c.Members {
		m.start(program)
		tb.Cleanup(m.Kill) // here, so that it happens after what the test starts later
	}
	for _, m := range c.Members {
		m.awaitReady()
	}
	return c
}

// Endpoints returns the addresses of the members' proxies.
func (c *Cluster) Endpoints() []string {
	var all Proxies
	for _, m := range c.Members {
		all = append(all, m.Proxy)
	}
	return all.Endpoints()
}

// Proxies are proxies for each member, in order.
type Proxies []*Proxy

// Proxies returns proxies of their own for one client.
func (c *Cluster) Proxies(tb testing.TB) Proxies {
	tb.Helper()
	var all Proxies
	for _, m := range c.Members {
		all = append(all, newProxy(tb, m.scheme, m.client))
	}
	return all
}

// Endpoints returns the addresses of the proxies.
func (p Proxies) Endpoints() []string {
	var all []string
	for _, p := range p {
		all = append(all, p.Endpoint())
	}
	return all
}

func (m *Member) start(program string) {
	m.tb.Helper()
	var initial []string
	for _, other := range m.cluster.Members {
		initial = append(initial, other.name+"=http://"+other.peer)
	}
	state := "new"
	if m.restarted {
		state = "existing"
	}
	args := append([]string{
		"--name", m.name, "--data-dir", filepath.Join(m.dir, "data"),
		"--listen-peer-urls", "http://" + m.peer, "--initial-advertise-peer-urls", "http://" + m.peer,
		"--listen-client-urls", m.Direct(), "--advertise-client-urls", m.Direct(),
		"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-token", m.cluster.token,
		"--initial-cluster-state", state, "--log-level", "warn",
	}, m.args...)
	m.output = &output{}
	m.cmd = exec.Command(program, args...)
	m.cmd.Stdout, m.cmd.Stderr = m.output, m.output
	// If the test is killed, the member ends with it.
	m.cmd.SysProcAttr = childAttributes()
	if err := m.cmd.Start(); err != nil {
		m.tb.Fatalf("start etcd: %v", err)
	}
	exited := make(chan struct{})
	m.exited = exited
	cmd := m.cmd
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
}

// awaitReady waits until the member listens for clients.
func (m *Member) awaitReady() {
	m.tb.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", m.client)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-m.exited:
			m.tb.Fatalf("etcd member %s has exited:\n%s", m.name, m.output)
		default:
		}
		if time.Now().After(deadline) {
			m.tb.Fatalf("etcd member %s does not start:\n%s", m.name, m.output)
		}
	}
}

// Kill ends the member's process at once.
func (m *Member) Kill() {
	_ = m.cmd.Process.Kill()
	<-m.exited
}

// Restart starts the member again after Kill, with its data, and waits until it
// listens.
func (m *Member) Restart() {
	m.tb.Helper()
	m.restarted = true
	m.start(Program(m.tb, "etcd"))
	m.awaitReady()
}

// Pause stops the member's process until Resume.
func (m *Member) Pause() { m.signal(syscall.SIGSTOP) }

// Resume lets the member's process go on after Pause.
func (m *Member) Resume() { m.signal(syscall.SIGCONT) }

func (m *Member) signal(s syscall.Signal) {
	m.tb.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.tb.Errorf("signal etcd member %s: %v", m.name, err)
	}
}

// Dir returns the member's data folder.
func (m *Member) Dir() string { return filepath.Join(m.dir, "data") }

// Direct returns the member's own address, without its proxy.
func (m *Member) Direct() string { return m.scheme + "://" + m.client }

// Compact makes the cluster forget all revisions before the newest one.
func (c *Cluster) Compact() error {
	var err error
	for _, m := range c.Members {
		if err = m.compact(); err == nil {
			return nil
		}
	}
	return err
}

// Read returns the values of all keys that begin with a prefix.
func (c *Cluster) Read(prefix string) (map[string][]byte, error) {
	var answer struct{ Kvs []struct{ Key, Value []byte } }
	err := c.read(prefix, false, &answer)
	values := map[string][]byte{}
	for _, kv := range answer.Kvs {
		values[string(kv.Key)] = kv.Value
	}
	return values, err
}

// Count returns the number of keys that begin with a prefix.
func (c *Cluster) Count(prefix string) (int, error) {
	var answer struct {
		Count int `json:",string"`
	}
	err := c.read(prefix, true, &answer)
	return answer.Count, err
}

func (c *Cluster) read(prefix string, count bool, answer any) error {
	end := []byte(prefix)
	end[len(end)-1]++
	return c.Members[0].post(time.Minute, "/v3/kv/range", map[string]any{"key": []byte(prefix), "range_end": end, "count_only": count}, answer)
}

func (m *Member) compact() error {
	var newest struct{ Header struct{ Revision string } }
	const limit = 5 * time.Second // it may be paused
	if err := m.post(limit, "/v3/kv/range", map[string]any{"key": []byte("none")}, &newest); err != nil {
		return err
	}
	return m.post(limit, "/v3/kv/compaction", map[string]any{"revision": newest.Header.Revision}, &newest)
}

// post uses the API for programs without gRPC, in which large numbers are text.
func (m *Member) post(limit time.Duration, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: limit}
	r, err := client.Post(m.Direct()+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, r.Status)
	}
	return json.NewDecoder(r.Body).Decode(out)
}

// freeAddress returns an address that nothing listens on. Until the member does, and while
// it is down, the system may give the port to anybody. So where loopback has 16 million
// addresses, this is not the one that all others use.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	ip := "127.0.0.1"
	if runtime.GOOS == "linux" {
		ip = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	}
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// output is what a member has written last.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() > 1<<16 {
		o.buf.Reset()
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

var building sync.Mutex

// Program returns the path of etcd, etcdctl or etcdutl, and builds it if needed. If that
// fails, it skips the test.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	if path := os.Getenv("FLUXKEEP_ETCD"); path != "" && name == "etcd" {
		return path
	}
	building.Lock()
	defer building.Unlock()
	path, err := build(name)
	if err != nil {
		if os.Getenv("FLUXKEEP_E2E") == "require" {
			tb.Fatalf("build %s: %v", name, err)
		}
		tb.Skipf("%s can't be built: %v", name, err)
	}
	return path
}

// build builds a program in the version that the module e2e/etcd names.
func build(name string) (string, error) {
	source := "go.etcd.io/etcd/" + name + "/v3"
	if name == "etcd" {
		source = "go.etcd.io/etcd/server/v3"
	}
	root, err := output1("go", "list", "-m", "-f", "{{.Dir}}", "github.com/fluxkeep/fluxkeep")
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "e2e", "etcd")
	version, err := output1("go", "-C", module, "list", "-m", "-f", "{{.Version}}", source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "fluxkeep-e2e", "etcd-"+version)
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if testing.Short() {
		return "", errors.New("nothing is installed in short mode")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Another process may do the same now.
	tmp := fmt.Sprintf("%s-%d", path, os.Getpid())
	if _, err := output1("go", "-C", module, "build", "-trimpath", "-ldflags=-s -w", "-o", tmp, source); err != nil {
		return "", err
	}
	return path, os.Rename(tmp, path)
}

// output1 returns what a command prints.
func output1(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
