//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// servers are servers that share the data of an etcd cluster.
type servers struct {
	t    testing.TB
	etcd *etcdtest.Cluster
	args []string
	all  []*server
}

// startServers starts n servers at the same time, and sets them up through one.
func startServers(t testing.TB, members, n int) *servers {
	t.Helper()
	etcd := etcdtest.Start(t, etcdtest.Options{Members: members})
	return startServersOn(t, etcd, slices.Repeat([][]string{etcd.Endpoints()}, n)...)
}

// startServersOn starts a server for each list of endpoints.
func startServersOn(t testing.TB, etcd *etcdtest.Cluster, endpoints ...[]string) *servers {
	t.Helper()
	return startProgramsOn(t, program, etcd, endpoints...)
}

// startPushable starts servers whose clocks can be pushed.
func startPushable(t testing.TB, etcd *etcdtest.Cluster, endpoints ...[]string) *servers {
	t.Helper()
	program, err := programWithFaults()
	if err != nil {
		t.Fatal(err)
	}
	s := startProgramsOn(t, program, etcd, endpoints...)
	for _, x := range s.all {
		x.troubled = true
	}
	return s
}

func startProgramsOn(t testing.TB, program string, etcd *etcdtest.Cluster, endpoints ...[]string) *servers {
	t.Helper()
	s := &servers{t: t, etcd: etcd}
	key := filepath.Join(t.TempDir(), "key")
	args := func(endpoints []string) []string {
		return []string{"--store", "etcd", "--etcd-endpoints", strings.Join(endpoints, ","), "--key-file", key}
	}
	s.args = args(etcd.Endpoints())
	s.all = make([]*server, len(endpoints))
	together(len(endpoints), func(i int) { s.all[i] = startProgram(t, program, anyAddress, args(endpoints[i])...) })
	first := s.all[0]
	first.setUp()
	for _, other := range s.all[1:] {
		other.shares(first)
	}
	return s
}

// etcdStore starts an etcd, and returns the flags of a server that uses it.
func etcdStore(t testing.TB) []string {
	t.Helper()
	return storeFlags(t, etcdtest.Start(t, etcdtest.Options{}))
}

func storeFlags(t testing.TB, etcd *etcdtest.Cluster) []string {
	return []string{"--store", "etcd", "--etcd-endpoints", strings.Join(etcd.Endpoints(), ","), "--key-file", filepath.Join(t.TempDir(), "key")}
}

// shares makes a server use what is known of the data that it shares with another.
func (s *server) shares(other *server) {
	s.user, s.password, s.org, s.orgID = other.user, other.password, other.org, other.orgID
	s.secrets.name, s.secrets.other = other.secrets.name, other.secrets.other
	s.token = s.confide(other.token)
}

// logs returns the files of the audit logs.
func logs(of []*server) (files []string) {
	for _, server := range of {
		files = append(files, filepath.Join(server.dir, "audit.log"))
	}
	return files
}

// offline runs a command with the settings of the servers' store.
func (s *servers) offline(args ...string) string {
	s.t.Helper()
	cmd := command(s.t, s.all[0].home, program, append(args, s.args...)...)
	cmd.Stdin = strings.NewReader("")
	return output(s.t, cmd)
}

// TestCluster checks what users of several servers are promised, through failures of
// servers and of etcd.
func TestCluster(t *testing.T) {
	long(t, "starts real servers on etcd")
	t.Parallel()
	s := startServers(t, 3, 3)
	want := map[string]string{}
	write := func(by *server, name, value string) {
		t.Helper()
		name, value = by.secretName(name), by.private(value)
		by.set(map[string]string{name: value})
		want[name] = value
	}

	t.Run("the next answer of every server shows a change", func(t *testing.T) {
		for round := range 10 {
			for i, by := range s.all {
				write(by, fmt.Sprint("n", i), fmt.Sprint("round", round))
				for _, other := range s.all {
					other.wantValues(want)
				}
			}
		}
	})

	t.Run("access", func(t *testing.T) {
		for i, by := range s.all {
			token := by.newToken(client.Read)
			letIn := func(token string, headers ...string) (in []bool) {
				for _, server := range s.all {
					status := server.ask("GET", "/api/v2/orgs/"+server.orgID+"/secrets", token, nil, headers...).status
					in = append(in, status == 200)
					if status != 200 && status != 401 && status != 404 {
						t.Errorf("status %d", status)
					}
				}
				return in
			}
			for _, active := range []bool{true, false, true} {
				status := map[bool]client.Status{true: client.Active, false: client.Inactive}[active]
				if _, err := by.operator().UpdateToken(t.Context(), token.ID, client.TokenUpdate{Status: &status}); err != nil {
					t.Fatal(err)
				}
				if in := letIn(token.Token); slices.Contains(in, !active) {
					t.Errorf("the token is active: %t, and the servers let it in: %t", active, in)
				}
			}
			session := by.signIn(by.user, by.password)
			if in := letIn("", "Cookie", session); slices.Contains(in, false) {
				t.Errorf("a session is let in: %t", in)
			}
			if a := s.all[(i+1)%len(s.all)].ask("POST", "/api/v2/signout", "", nil, "Cookie", session); a.status != 204 {
				t.Fatal(a)
			}
			if in := letIn("", "Cookie", session); slices.Contains(in, true) {
				t.Errorf("a session that has ended is let in: %t", in)
			}
		}
	})

	t.Run("waiting for a change", func(t *testing.T) {
		at := s.all[1]
		now, _, err := at.operator().Values(t.Context(), at.orgID, nil)
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan error, 1)
		go func() {
			got, changed, err := at.operator().Values(t.Context(), at.orgID, &client.ValuesQuery{ETag: now.ETag, Wait: 2 * time.Minute})
			if err == nil && (!changed || got.Secrets[at.secretName("waited")] == "") {
				err = fmt.Errorf("changed: %t, with %d secrets", changed, len(got.Secrets))
			}
			woken <- err
		}()
		write(s.all[2], "waited", "for")
		select {
		case err := <-woken:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("a change through another server wakes nobody")
		}
	})

	t.Run("a command that is restarted when a secret changes", func(t *testing.T) {
		at, by := s.all[0], s.all[1]
		name := by.secretName("watched")
		write(by, "watched", "first")
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := command(t, at.home, program, "run", "--watch", "restart", "--only", name, "--", "sh", "-c", `echo "has $`+name+`"; exec sleep 600`)
		cmd.Env = append(cmd.Env, "INFLUX_HOST="+at.url, "INFLUX_TOKEN="+at.token, "INFLUX_ORG="+at.org)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Signal(syscall.SIGTERM) // which it forwards
			_ = cmd.Wait()
		}()
		has := func(value string) {
			t.Helper()
			eventually(t, "command with the value", func() bool { return strings.Contains(readText(t, out.Name()), "has "+by.private(value)+"\n") })
		}
		has("first")
		write(by, "watched", "second")
		has("second")
	})

	leads := func(by *server) string {
		status, err := by.operator().Cluster(t.Context())
		if err != nil {
			return ""
		}
		for _, v := range status.Servers {
			if v.Leads {
				return v.Address
			}
		}
		return ""
	}
	t.Run("a server dies", func(t *testing.T) {
		at := -1
		eventually(t, "server that leads", func() bool {
			at = slices.IndexFunc(s.all, func(x *server) bool { return x.address() == leads(x) })
			return at >= 0
		})
		dead, others := s.all[at], slices.Delete(slices.Clone(s.all), at, at+1)
		write(dead, "last", "words")
		dead.kill()
		died := time.Now()
		for _, other := range others {
			other.wantValues(want)
			write(other, "after", other.address())
		}
		eventually(t, "change of the server that leads", func() bool {
			now := leads(others[0])
			return now != "" && now != dead.address()
		})
		// What the dead server had not settled is in another log. It is unlikely that it
		// had just settled everything.
		last := dead.secretName("last")
		settled := strings.Contains(readLogs(t, logs(s.all)), last)
		eventually(t, "record of the dead server's last change", func() bool {
			return strings.Contains(readLogs(t, logs(others)), last) || settled && time.Since(died) > 20*time.Second
		})
		dead.again()
		dead.wantValues(want)
		out := dead.fluxkeep("", append([]string{"audit", "verify"}, logs(s.all)...)...)
		if !strings.Contains(out, "together they have") {
			t.Errorf("audit verify says %q", out)
		}
	})

	t.Run("the leader of etcd dies", func(t *testing.T) {
		for _, x := range s.all {
			x.troubled = true
		}
		leader := -1
		eventually(t, "member that leads", func() bool {
			status, err := s.all[0].operator().Cluster(t.Context())
			leader = slices.IndexFunc(status.Members, func(m client.EtcdMember) bool { return m.Leader })
			return err == nil && leader >= 0
		})
		s.etcd.Members[leader].Kill()
		for _, by := range s.all {
			name, value := by.secretName("election"), by.private(by.address())
			eventually(t, "success of a change", func() bool {
				_, err := by.operator().WriteValues(t.Context(), by.orgID, map[string]*string{name: &value}, nil)
				return err == nil
			})
			want[name] = value
		}
		for _, by := range s.all {
			by.wantValues(want)
		}
		s.etcd.Members[leader].Restart()
	})

	t.Run("etcd out of reach", func(t *testing.T) {
		for _, m := range s.etcd.Members {
			m.Cut()
		}
		for _, by := range s.all {
			begin := time.Now()
			a := by.ask("GET", "/api/v2/orgs/"+by.orgID+"/secrets", by.token, nil)
			if a.status != 503 {
				t.Errorf("without etcd: %v", a)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("the refusal took %v", took)
			}
			a = by.ask("PATCH", "/api/v2/orgs/"+by.orgID+"/secrets", by.token, object{by.secretName("refused"): "x"})
			if a.status != 503 {
				t.Errorf("a change without etcd: %v", a)
			}
		}
		for _, m := range s.etcd.Members {
			m.Mend()
		}
		for _, by := range s.all {
			eventually(t, "server that is ready again", func() bool { return by.ask("GET", "/ready", "", nil).status == 200 })
			got := by.values()
			delete(got, by.secretName("refused")) // it may have been made
			if !maps.Equal(got, want) {
				t.Errorf("the secrets are %q, want %q", got, want)
			}
		}
	})

	t.Run("metrics", func(t *testing.T) {
		served := map[string]bool{}
		for line := range strings.Lines(s.all[0].ask("GET", "/metrics", "", nil).body) {
			if words := strings.Fields(line); len(words) > 3 && words[1] == "TYPE" {
				served[words[2]] = true
			}
		}
		documented := map[string]bool{}
		for _, name := range metricsIn(readText(t, "../docs/monitoring.md")) {
			documented[name] = true
		}
		for name := range served {
			if strings.HasPrefix(name, "fluxkeep_") && !documented[name] {
				t.Errorf("docs/monitoring.md lacks %s", name)
			}
		}
		for name := range documented {
			if clusterMetric.MatchString(name) && !served[name] {
				t.Errorf("docs/monitoring.md has %s, which the server doesn't have", name)
			}
		}
	})

	t.Run("a copied folder", func(t *testing.T) {
		copied := s.all[0].copyFolder()
		if err := os.Chmod(copied, 0o700); err != nil {
			t.Fatal(err)
		}
		// One of the two ends: usually the second, unless the first had lost its
		// registration just then.
		const refusal = "another server with a copy of this data folder is running"
		first := s.all[0]
		second := command(t, first.home, program, append([]string{"serve", "--http-bind-address", "127.0.0.1:0", "--data-dir", copied}, s.args...)...)
		var out bytes.Buffer
		second.Stdout, second.Stderr = &out, &out
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- second.Wait() }()
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(out.String(), refusal) {
				t.Errorf("a second server with the same folder: %v\n%s", err, out.String())
			}
		case err := <-first.exited:
			if first.cmd = nil; err == nil || !strings.Contains(first.log(), refusal) {
				t.Errorf("the first server with the same folder: %v", err)
			}
			_ = second.Process.Kill()
			<-ended
			first.again()
		case <-time.After(2 * time.Minute):
			_ = second.Process.Kill()
			t.Errorf("two servers with the same folder:\n%s", out.String())
		}
	})

	t.Run("doctor", func(t *testing.T) {
		if out := s.offline("doctor", "--json"); !strings.Contains(out, `"damage": []`) {
			t.Errorf("doctor says %s", out)
		}
	})

	t.Run("backup and restore", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "backup")
		s.all[1].fluxkeep("", "backup", "--output", file)
		moved := &servers{t: t, etcd: s.etcd, args: append(slices.Clone(s.args), "--etcd-prefix", "/moved/"), all: s.all[:1]}
		if out := moved.offline("restore", file, "--quiet"); out != "/moved/\n" {
			t.Errorf("restore says %q", out)
		}
		cmd := command(t, s.all[0].home, program, append([]string{"restore", file}, moved.args...)...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "has data") {
			t.Errorf("a second restore: %v\n%s", err, out)
		}
		there := start(t, moved.args...)
		there.shares(s.all[0])
		got := there.values()
		delete(got, there.secretName("refused"))
		if !maps.Equal(got, want) {
			t.Errorf("the restored secrets are %q, want %q", got, want)
		}
	})

	t.Run("recover and import", s.checkRecoveryAndImport)

	t.Run("rewrap", func(t *testing.T) {
		key := filepath.Join(t.TempDir(), "new")
		s.offline("key", "rewrap", "--new-key-file", key)
		for _, by := range s.all {
			by.wantServed(t)
		}
		one := s.all[0]
		one.stop()
		one.args[slices.Index(one.args, "--key-file")+1] = key
		one.again()
		one.wantServed(t)
	})

	t.Run("etcd's files", func(t *testing.T) {
		for _, x := range s.all {
			(&day{server: x}).traffic()
		}
		s.wantSealed(t)
	})
}

// checkRecoveryAndImport runs the commands that work as one more server: with a new
// folder while the others run, and with the folder of one of them when all are stopped.
func (s *servers) checkRecoveryAndImport(t *testing.T) {
	one, added := s.all[0], filepath.Join(t.TempDir(), "data")
	prepare := func(dir string, args ...string) *exec.Cmd {
		return command(t, one.home, program, slices.Concat(args, []string{"--data-dir", dir}, s.args)...)
	}
	importInto := func(dir, variant string) (served func()) {
		t.Helper()
		files, err := filepath.Abs("../internal/influxbolt/testdata/" + variant)
		if err != nil {
			t.Fatal(err)
		}
		var has struct {
			Organizations []struct {
				ID      string
				Secrets map[string]string
			}
			Tokens []struct{ Org, Description, Token string }
		}
		if err := json.Unmarshal([]byte(readText(t, files+".json")), &has); err != nil {
			t.Fatal(err)
		}
		org, token := has.Organizations[0], has.Tokens[1]
		if token.Org != org.ID || len(org.Secrets) == 0 {
			t.Fatalf("token %q doesn't read secrets", token.Description)
		}
		one.confide(token.Token)
		output(t, prepare(dir, "import", "influxdb", "--bolt-path", files+".bolt", "--apply"))
		return func() {
			t.Helper()
			for _, x := range s.all {
				got, _, err := x.client(token.Token).Values(t.Context(), org.ID, nil)
				if err != nil || !maps.Equal(got.Secrets, org.Secrets) {
					t.Errorf("the imported secrets are %q, %v", got.Secrets, err)
				}
			}
		}
	}

	if out, err := prepare(one.dir, "recover", "users").CombinedOutput(); err == nil || !strings.Contains(string(out), "stop the server first") {
		t.Errorf("recover with the folder of a running server: %v\n%s", err, out)
	}
	token := one.confide(strings.TrimSpace(output(t, prepare(added, "recover", "token", one.user, "--quiet"))))
	for _, x := range s.all {
		if r := x.ask("GET", influxPath(x.orgID), token, nil); r.status != 200 {
			t.Errorf("a recovered token: %v", r)
		}
	}
	importInto(added, "hashed-tokens")()

	session, old := one.signIn(one.user, one.password), one.password
	for _, x := range s.all {
		x.stop()
	}
	password := prepare(one.dir, "recover", "password", one.user)
	password.Stdin = strings.NewReader(one.private("recovered"))
	output(t, password)
	served := importInto(one.dir, "plain-tokens")
	together(len(s.all), func(i int) { s.all[i].again() })
	served()
	for _, x := range s.all {
		x.password = one.private("recovered")
		if x.signIn(x.user, x.password) == "" || x.signIn(x.user, old) != "" {
			t.Error("the recovered password isn't the only one")
		}
		if r := x.ask("GET", influxPath(x.orgID), "", nil, "Cookie", session); r.status != 401 {
			t.Errorf("a session from before the recovery: %v", r)
		}
	}

	files := append(logs(s.all), filepath.Join(added, "audit.log"))
	if out := one.fluxkeep("", append([]string{"audit", "verify"}, files...)...); !strings.Contains(out, "together they have") {
		t.Errorf("audit verify says %q", out)
	}
	for _, file := range []string{files[0], files[len(files)-1]} {
		if !strings.Contains(readText(t, file), `"offline"`) {
			t.Errorf("%s has no record of an offline command", file)
		}
	}
}

// wantSealed searches the files of etcd's members and of all servers for the confidential
// text of any server.
func (s *servers) wantSealed(t *testing.T) {
	t.Helper()
	secrets := &confidential{name: s.all[0].secrets.name, other: s.all[0].secrets.other}
	var paths []string
	for _, x := range s.all {
		secrets.tokens = append(secrets.tokens, x.secrets.tokens...)
		paths = append(paths, x.dir, x.logFile)
	}
	for _, m := range s.etcd.Members {
		paths = append(paths, m.Dir())
		keys := &confidential{name: "/fluxkeep/k/", other: "/fluxkeep/k/"}
		found, _, err := keys.search(m.Dir())
		if all := strings.Join(found, "\n"); err != nil || !strings.Contains(all, " in db") || !strings.Contains(all, ".wal") {
			t.Errorf("the search doesn't find the keys of records in %s: %v\n%s", m.Dir(), err, all)
		}
	}
	found, searched, err := secrets.search(paths...)
	if err != nil {
		t.Error(err)
	}
	for _, f := range found {
		t.Errorf("readable: %s", f)
	}
	t.Logf("%d files searched for %d texts", searched, len(secrets.tokens)+2)
}

// wantServed checks that the server answers with secrets.
func (s *server) wantServed(t *testing.T) {
	t.Helper()
	if len(s.values()) == 0 {
		t.Error("there are no secrets")
	}
}

// TestRestoredEtcd restores etcd to the state from before the data keys were rotated and
// the keyset was wrapped with another key. No server serves it before an operator has
// accepted it, and the audit logs still say what was lost.
func TestRestoredEtcd(t *testing.T) {
	long(t, "starts real servers on etcd")
	t.Parallel()
	s := startServers(t, 1, 3)
	for _, x := range s.all {
		x.troubled = true
	}
	accepting, running, away, member := s.all[0], s.all[1], s.all[2], s.etcd.Members[0]
	kept, lost := accepting.secretName("kept"), accepting.secretName("lost")
	want := map[string]string{kept: accepting.private("1")}
	accepting.set(want)
	token := accepting.newToken(client.Read)
	member.Kill()
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	if err := os.CopyFS(snapshot, os.DirFS(member.Dir())); err != nil {
		t.Fatal(err)
	}
	member.Restart()
	eventually(t, "success of a change", func() bool {
		return accepting.ask("PATCH", influxPath(accepting.orgID), accepting.token, object{lost: accepting.private("2")}).ok()
	})

	// What follows is lost. The servers get to know it.
	accepting.fluxkeep("", "key", "rotate", "--wait")
	s.follow()
	newKey := filepath.Join(t.TempDir(), "new")
	s.offline("key", "rewrap", "--new-key-file", newKey)
	if err := accepting.operator().DeleteToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	accepting.set(map[string]string{kept: accepting.private("4"), lost: accepting.private("5")})
	for _, x := range s.all {
		x.wantValues(map[string]string{kept: x.private("4"), lost: x.private("5")})
		if r := x.ask("GET", influxPath(x.orgID), token.Token, nil); r.status != 401 {
			t.Errorf("a deleted token: %v", r)
		}
	}
	away.kill()

	member.Kill()
	if err := errors.Join(os.RemoveAll(member.Dir()), os.CopyFS(member.Dir(), os.DirFS(snapshot))); err != nil {
		t.Fatal(err)
	}
	member.Restart()
	refuses := func(x *server) {
		t.Helper()
		eventually(t, "line in the log about the older state", func() bool { return strings.Contains(x.log(), "restored to an older state") })
		for _, with := range []string{x.token, token.Token} {
			if r := x.ask("GET", influxPath(x.orgID), with, nil); r.status != 503 {
				t.Errorf("an older state is served: %v", r)
			}
		}
	}
	refuses(accepting)
	refuses(running)

	accept := func() *exec.Cmd {
		return command(t, accepting.home, program, append([]string{"cluster", "accept-restored", "--yes", "--data-dir", accepting.dir}, s.args[2:4]...)...)
	}
	if out, err := accept().CombinedOutput(); err == nil || !strings.Contains(string(out), "stop this server first") {
		t.Errorf("accept-restored with the folder of a running server: %v\n%s", err, out)
	}
	accepting.stop()
	output(t, accept())
	accepting.again()
	serves := func(all ...*server) {
		t.Helper()
		for _, x := range all {
			eventually(t, "server that goes on", func() bool { return x.ask("GET", "/ready", "", nil).status == 200 })
			x.wantValues(want)
		}
	}
	serves(accepting, running)
	if out, err := accept().CombinedOutput(); err == nil {
		t.Errorf("the state is accepted twice\n%s", out)
	}

	// A version has the number of one that was lost.
	want[accepting.secretName("after")] = accepting.private("3")
	running.set(map[string]string{accepting.secretName("after"): accepting.private("3")})

	// The server that was away needs the key that the keyset was wrapped with.
	keyAt := slices.Index(away.args, "--key-file") + 1
	oldKey := away.args[keyAt]
	refused := command(t, away.home, program, append([]string{"serve", "--http-bind-address", "127.0.0.1:0", "--data-dir", away.dir, "--key-file", newKey}, s.args[:4]...)...)
	if out, err := refused.CombinedOutput(); err == nil || strings.Count(string(out), "\n") != 1 {
		t.Errorf("a server with another key: %v\n%s", err, out)
	}
	away.args[keyAt] = oldKey
	away.again()
	serves(s.all...)
	accepting.fluxkeep("", "key", "rotate", "--wait")
	serves(s.all...)

	if out := accepting.fluxkeep("", append([]string{"audit", "verify"}, logs(s.all)...)...); !strings.Contains(out, "together they have") {
		t.Errorf("audit verify says %q", out)
	}
	log := readLogs(t, logs(s.all))
	for _, action := range []string{"keys.rotate", "tokens.delete"} {
		if !strings.Contains(log, action) {
			t.Errorf("the audit logs don't have %s", action)
		}
	}
}

// follow waits until all servers have reported that they have seen what was made so far: a
// server that sees new data keys only after they were wrapped again can't open them.
func (s *servers) follow() {
	at := s.all[0]
	var made uint64
	eventually(at.t, "reports of all servers", func() bool {
		c, err := at.operator().Cluster(at.t.Context())
		if made == 0 {
			made = c.Changes
		}
		return err == nil && len(c.Servers) == len(s.all) && !slices.ContainsFunc(c.Servers, func(v client.ClusterServer) bool {
			return v.Behind == nil || c.Changes-*v.Behind < made
		})
	})
}

// TestClocks pushes the clock of one of three servers an hour ahead, back, and an hour
// behind. No token is refused by the others before its time or accepted after it, and
// operators see which clock is wrong.
func TestClocks(t *testing.T) {
	long(t, "waits for reports")
	t.Parallel()
	etcd := etcdtest.Start(t, etcdtest.Options{})
	s := startPushable(t, etcd, slices.Repeat([][]string{etcd.Endpoints()}, 3)...)
	right, wrong := s.all[0], s.all[2]
	change := func(by *server) reply {
		return by.ask("PATCH", influxPath(by.orgID), by.token, object{by.secretName("any"): by.private("1")})
	}
	status := func(of *server, token string) int { return of.ask("GET", influxPath(of.orgID), token, nil).status }
	expiring := func(in time.Duration) string {
		at := time.Now().Add(in)
		token, err := right.operator().CreateToken(t.Context(), client.NewToken{OrgID: right.orgID, Permissions: client.SecretPermissions(right.orgID, client.Read), ExpiresAt: at})
		if err != nil {
			t.Fatal(err)
		}
		return right.confide(token.Token)
	}
	// shown waits until the wrong clock is shown everywhere.
	shown := func(hours float64) {
		t.Helper()
		near := func(seconds float64) bool { return math.Abs(seconds-hours*3600) < 120 }
		eventually(t, "clock in the status of the cluster", func() bool {
			now, err := right.operator().Cluster(t.Context())
			return err == nil && slices.ContainsFunc(now.Servers, func(v client.ClusterServer) bool {
				return v.Address == wrong.address() && v.ClockSkew != nil && near(*v.ClockSkew)
			})
		})
		eventually(t, "clock in the metrics", func() bool {
			_, after, _ := strings.Cut(wrong.ask("GET", "/metrics", "", nil).body, "\nfluxkeep_cluster_clock_skew_seconds ")
			line, _, _ := strings.Cut(after, "\n")
			skew, err := strconv.ParseFloat(line, 64)
			return err == nil && near(skew)
		})
		if r := wrong.ask("GET", "/health", "", nil); !strings.Contains(r.body, "clock") {
			t.Errorf("the health of a server with a wrong clock: %v", r)
		}
	}

	later := expiring(30 * time.Minute)
	change(right)
	wrong.pushClock(time.Hour)
	eventually(t, "refusal", func() bool { return change(wrong).status == 503 })
	if r := change(wrong); !strings.Contains(r.body, "clock is wrong") {
		t.Errorf("a change while the clock is ahead: %v", r)
	}
	shown(1)
	if got := status(wrong, wrong.token); got != 200 {
		t.Errorf("a read while the clock is ahead: %d", got)
	}
	for _, x := range s.all[:2] {
		if r := change(x); !r.ok() {
			t.Errorf("a change while another server's clock is ahead: %v", r)
		}
		if got := status(x, later); got != 200 {
			t.Errorf("a token that is valid for half an hour: %d", got)
		}
	}

	wrong.pushClock(0)
	eventually(t, "change after the clock was corrected", func() bool { return change(wrong).ok() })
	for _, x := range s.all {
		if got := status(x, later); got != 200 {
			t.Errorf("a token that is valid for half an hour, after the clock was corrected: %d", got)
		}
	}

	wrong.pushClock(-time.Hour)
	brief := expiring(20 * time.Second) // later than the token is made, on any machine
	if r := change(wrong); !r.ok() {
		t.Errorf("a change while the clock is behind: %v", r)
	}
	eventually(t, "end of the token", func() bool { return status(right, brief) == 401 })
	eventually(t, "end of the token where the clock is behind", func() bool { return status(wrong, brief) == 401 })
	shown(-1)
	wrong.kill()
	wrong.again()
	eventually(t, "end of the token after a restart", func() bool { return status(wrong, brief) == 401 })
	wrong.pushClock(0)
	for _, x := range s.all {
		if got := status(x, later); got != 200 {
			t.Errorf("a token that is valid for half an hour, in the end: %d", got)
		}
	}
}

// readLogs returns the content of audit logs.
func readLogs(t testing.TB, files []string) string {
	t.Helper()
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
