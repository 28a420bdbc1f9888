//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore/etcdtest"
)

// stage is where histories take place: three servers on three members of etcd. Each
// server reaches the members through proxies of its own.
type stage struct {
	*servers
	proxies  []etcdtest.Proxies // of each server
	start    time.Time
	versions map[string]uint64 // the last version of each organization
}

func newStage(t *testing.T) *stage {
	s := &stage{start: time.Now(), versions: map[string]uint64{}}
	etcd := etcdtest.Start(t, etcdtest.Options{Members: 3})
	var endpoints [][]string
	for i := range 3 {
		proxies := etcd.Proxies(t)
		s.proxies = append(s.proxies, proxies)
		// Each server prefers another member.
		all := proxies.Endpoints()
		endpoints = append(endpoints, slices.Concat(all[i:], all[:i]))
	}
	s.servers = startPushable(t, etcd, endpoints...)
	return s
}

func (s *stage) server() *server          { return s.all[rand.IntN(len(s.all))] }
func (s *stage) member() *etcdtest.Member { return s.etcd.Members[rand.IntN(len(s.etcd.Members))] }

// connections returns one or all of a server's connections.
func (s *stage) connections() etcdtest.Proxies {
	proxies := s.proxies[rand.IntN(len(s.proxies))]
	if rand.IntN(2) == 0 {
		return proxies
	}
	one := rand.IntN(len(proxies))
	return proxies[one : one+1]
}

// trouble disturbs a stage for a while.
type trouble struct {
	name string
	// of is what is disturbed. Troubles of different things happen at the same time.
	of string
	// begin returns how to end it.
	begin func(h *history) (end func())
}

var troubles = []trouble{
	{"no trouble", "", func(*history) func() { return func() {} }},
	{"member killed", "members", func(h *history) func() { m := h.member(); m.Kill(); return m.Restart }},
	{"member paused", "members", func(h *history) func() { m := h.member(); m.Pause(); return m.Resume }},
	{"server killed", "servers", func(h *history) func() { x := h.server(); x.kill(); return func() { h.restart(x) } }},
	{"server paused", "servers", func(h *history) func() { x := h.server(); x.pause(); return x.resume }},
	{"connections cut", "connections", func(h *history) func() { p := h.connections(); p.Cut(); return p.Mend }},
	{"requests held", "connections", func(h *history) func() { p := h.connections(); p.HoldRequests(); return p.Mend }},
	{"replies held", "connections", func(h *history) func() { p := h.connections(); p.HoldReplies(); return p.Mend }},
	{"replies lost", "connections", func(h *history) func() { p := h.connections(); p.LoseReplies(); return p.Mend }},
	{"clock pushed", "clocks", func(h *history) func() {
		x, by := h.server(), time.Hour
		if rand.IntN(2) == 0 {
			by = -by
		}
		x.pushClock(by)
		return func() { x.pushClock(0) }
	}},
	{"compaction", "changes", func(h *history) func() { _ = h.etcd.Compact(); return func() {} }}, // while a member is down, it may fail
	{"large change", "changes", func(h *history) func() { h.newClient().large(); return func() {} }},
}

// restart starts a server again as soon as it can use etcd, which other troubles can delay
// until they have ended.
func (h *history) restart(x *server) {
	for end := time.Now().Add(5 * time.Minute); !x.tryServe(x.address()); {
		if time.Now().After(end) {
			h.t.Errorf("a server doesn't start again:\n%s", x.log())
			return
		}
	}
}

// pause stops the server's process until resume.
func (s *server) pause() { s.signal(syscall.SIGSTOP) }

func (s *server) resume() { s.signal(syscall.SIGCONT) }

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Errorf("signal the server: %v", err)
	}
}

// history is what several clients do at the same time.
type history struct {
	*stage
	t          testing.TB
	org, bulky string       // organizations; large changes are made to the second
	token      client.Token // which is deactivated from time to time
	clients    atomic.Int64

	mu    sync.Mutex
	deeds []porcupine.Operation
}

const (
	historyClients = 8
	historyDeeds   = 60          // of each client
	historyTime    = time.Minute // at most: what a slow machine can't do in it is left out
)

// play makes a history during troubles, and judges it.
func (s *stage) play(t *testing.T, during ...trouble) {
	h := &history{stage: s, t: t}
	h.prepare()
	var clients, directors sync.WaitGroup
	begin := time.Now()
	for range historyClients {
		c := h.newClient()
		clients.Go(func() {
			for n := 0; n < historyDeeds && time.Since(begin) < historyTime; n++ {
				time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // so that there is time for troubles
				c.act()
			}
		})
	}
	var begun atomic.Int64
	stop := make(chan struct{})
	kinds := map[string][]trouble{}
	for _, x := range during {
		kinds[x.of] = append(kinds[x.of], x)
	}
	for _, these := range kinds {
		directors.Go(func() { h.direct(these, len(kinds), &begun, stop) })
	}
	clients.Wait()
	close(stop)
	directors.Wait()
	h.end()
	h.judge()
	unknown := 0
	for _, o := range h.deeds {
		if o.Return == never {
			unknown++
		}
	}
	t.Logf("%d requests, %d with an unknown outcome, during %d troubles", len(h.deeds), unknown, begun.Load())
}

// direct makes troubles, at least one, until stop is closed. It is one of several
// directors.
func (h *history) direct(these []trouble, directors int, begun *atomic.Int64, stop <-chan struct{}) {
	wait := func(times int) (on bool) {
		select {
		case <-stop:
			return false
		case <-time.After(time.Duration(times*(50+rand.IntN(800))) * time.Millisecond):
			return true
		}
	}
	for on := true; on; {
		wait(directors) // or nothing would work
		end := these[rand.IntN(len(these))].begin(h)
		begun.Add(1)
		on = wait(1)
		end()
	}
}

// prepare makes what the history is about.
func (h *history) prepare() {
	h.t.Helper()
	x := h.all[0]
	for _, org := range []*string{&h.org, &h.bulky} {
		eventually(h.t, "new organization", func() bool {
			o, err := x.operator().CreateOrganization(h.t.Context(), x.private(randomWord()), "")
			*org = o.ID
			return err == nil
		})
	}
	eventually(h.t, "new token", func() (ok bool) {
		var err error
		h.token, err = x.operator().CreateToken(h.t.Context(), client.NewToken{OrgID: h.org, Permissions: client.SecretPermissions(h.org, client.Read)})
		return err == nil
	})
	x.confide(h.token.Token)
	c := h.newClient()
	eventually(h.t, "count", func() bool { return c.replace(h.org, map[string]string{x.secretName("count"): "0"}, nil) })
	eventually(h.t, "large document", c.large)
}

// end reads everything from each server, once it can answer.
func (h *history) end() {
	h.t.Helper()
	for _, x := range h.all {
		c := h.newClient()
		c.only = x
		for _, org := range []string{h.org, h.bulky} {
			eventually(h.t, "answer after all troubles", func() bool {
				now, ok := c.read(org)
				h.versions[org] = now.version
				return ok
			})
		}
		c.use()
	}
}

// judge checks that some order of all requests explains their answers.
func (h *history) judge() {
	h.t.Helper()
	verdict, info := porcupine.CheckOperationsVerbose(judge, h.deeds, 5*time.Minute)
	if verdict == porcupine.Ok {
		return
	}
	h.t.Errorf("the verdict on %d requests is %s", len(h.deeds), verdict)
	file, err := os.CreateTemp("", "history-*.html")
	if err == nil {
		err = errors.Join(porcupine.Visualize(judge, info, file), file.Close())
	}
	if err != nil {
		h.t.Error(err)
		return
	}
	h.t.Logf("%s shows the history", file.Name())
}

// historian is a client that makes and records a history.
type historian struct {
	*history
	id     int
	serial int
	only   *server // nil for any
	http   *http.Client
}

func (h *history) newClient() *historian {
	return &historian{history: h, id: int(h.clients.Add(1)), http: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
}

// act does something at random.
func (c *historian) act() {
	name := c.all[0].secretName(fmt.Sprint("n", rand.IntN(4)))
	value := map[string]string{name: c.newValue()}
	switch n := rand.IntN(24); {
	case n < 6:
		c.readValues(c.org)
	case n < 10:
		c.read(c.org)
	case n < 12:
		c.change(deed{of: c.org, set: value}, "PATCH", influxPath(c.org), value)
	case n < 14:
		c.change(deed{of: c.org, set: value}, "PATCH", vaultPath(c.org), object{"data": value}, "Content-Type", "application/merge-patch+json")
	case n < 15:
		c.change(deed{of: c.org, remove: []string{name}}, "POST", influxPath(c.org)+"/delete", object{"secrets": []string{name}})
	case n < 17:
		c.countInflux()
	case n < 19:
		c.countVault()
	case n < 20:
		c.toggle()
	case n < 22:
		c.use()
	case n < 23:
		c.readValues(c.bulky)
	default:
		c.read(c.bulky)
	}
}

func influxPath(org string) string { return "/api/v2/orgs/" + org + "/secrets" }
func vaultPath(org string) string  { return "/v1/secret/data/" + org }

// newValue returns a value that no other change has.
func (c *historian) newValue() string {
	c.serial++
	return c.all[0].private(fmt.Sprintf("%d.%d", c.id, c.serial))
}

// countInflux adds 1 to a number, based on the version that it reads.
func (c *historian) countInflux() {
	now, ok := c.readValues(c.org)
	if !ok {
		return
	}
	name, next := c.next(now)
	set := map[string]string{name: next}
	c.change(deed{of: c.org, set: set, based: &now.version}, "PATCH", influxPath(c.org)+"/values", set, "If-Match", now.etag)
}

// countVault does the same with Vault's API.
func (c *historian) countVault() {
	now, ok := c.read(c.org)
	if !ok {
		return
	}
	name, next := c.next(now)
	now.secrets[name] = next
	c.replace(c.org, now.secrets, &now.version)
}

func (c *historian) next(now seen) (name, number string) {
	name = c.all[0].secretName("count")
	n, err := strconv.Atoi(now.secrets[name])
	if err != nil {
		c.t.Errorf("the count is %q", now.secrets[name])
	}
	return name, strconv.Itoa(n + 1)
}

// replace replaces all secrets.
func (c *historian) replace(org string, secrets map[string]string, based *uint64) (made bool) {
	body := object{"data": secrets}
	if based != nil {
		body["options"] = object{"cas": *based}
	}
	return c.change(deed{of: org, set: secrets, whole: true, based: based}, "POST", vaultPath(org), body)
}

// large makes a change that the store splits.
func (c *historian) large() (made bool) {
	value, secrets := c.newValue(), map[string]string{}
	for i := range 4 {
		secrets[c.all[0].secretName(fmt.Sprint("n", i))] = value + "|" + strings.Repeat("x", 512<<10)
	}
	return c.replace(c.bulky, secrets, nil)
}

// short returns secrets as they are recorded, without what makes them large.
func short(secrets map[string]string) map[string]string {
	short := map[string]string{}
	for name, value := range secrets {
		short[name], _, _ = strings.Cut(value, "|")
	}
	return short
}

func (c *historian) toggle() {
	kind, status := activating, client.Active
	if rand.IntN(2) == 0 {
		kind, status = deactivating, client.Inactive
	}
	c.change(deed{of: c.token.ID, kind: kind}, "PATCH", "/api/v2/authorizations/"+c.token.ID, object{"status": status})
}

// use reads with a token that may be inactive.
func (c *historian) use() {
	e := c.exchange("GET", influxPath(c.org), c.token.Token, nil)
	if e.lost() {
		return
	}
	if e.status != http.StatusOK && e.status != http.StatusNotFound {
		c.t.Errorf("a token: %s", e)
	}
	c.record(deed{of: c.token.ID, kind: using}, finding{refused: e.status != http.StatusOK}, e)
}

// seen is the result of a read.
type seen struct {
	version uint64
	etag    string
	secrets map[string]string
}

func (c *historian) readValues(org string) (seen, bool) {
	e := c.exchange("GET", influxPath(org)+"/values", c.all[0].token, nil)
	if e.lost() {
		return seen{}, false
	}
	s := seen{etag: e.header.Get("ETag")}
	parts := strings.Split(s.etag, ".")
	var err error
	if e.status == http.StatusOK && len(parts) == 3 {
		s.version, err = strconv.ParseUint(parts[1], 10, 64)
		err = errors.Join(err, json.Unmarshal(e.body, &s.secrets))
	}
	if err != nil || s.version == 0 {
		c.t.Errorf("a read with ETag %q: %s", s.etag, e)
		return seen{}, false
	}
	c.record(deed{of: org}, finding{version: s.version, secrets: short(s.secrets)}, e)
	return s, true
}

// read reads with Vault's API.
func (c *historian) read(org string) (seen, bool) {
	e := c.exchange("GET", vaultPath(org), c.all[0].token, nil)
	if e.lost() {
		return seen{}, false
	}
	var answer struct {
		Data struct {
			Data     map[string]string
			Metadata struct{ Version uint64 }
		}
	}
	if err := json.Unmarshal(e.body, &answer); err != nil || e.status != http.StatusOK {
		c.t.Errorf("a read: %s", e)
		return seen{}, false
	}
	s := seen{version: answer.Data.Metadata.Version, secrets: answer.Data.Data}
	c.record(deed{of: org}, finding{version: s.version, secrets: short(s.secrets)}, e)
	return s, true
}

// change asks for a change, and reports whether it was certainly made.
func (c *historian) change(d deed, method, path string, body any, header ...string) (made bool) {
	if d.kind == reading {
		d.kind = changing
	}
	e := c.exchange(method, path, c.all[0].token, body, header...)
	d.set = short(d.set)
	var f finding
	switch {
	case e.lost():
		f.unknown = true
	case e.status/100 == 2:
		var answer struct {
			Version uint64
			Data    struct{ Version uint64 }
		}
		if len(e.body) > 0 && d.kind == changing {
			if err := json.Unmarshal(e.body, &answer); err != nil {
				c.t.Errorf("%v: %s", err, e)
			}
		}
		f.version = max(answer.Version, answer.Data.Version)
	case d.based != nil && (e.status == http.StatusPreconditionFailed || e.status == http.StatusBadRequest):
		f.refused = true
	default:
		c.t.Errorf("a change: %s", e)
		return false
	}
	c.record(d, f, e)
	return !f.unknown && !f.refused
}

func (c *historian) record(d deed, f finding, e exchange) {
	o := porcupine.Operation{ClientId: c.id, Input: d, Output: f, Call: e.call, Return: e.end}
	if f.unknown {
		o.Return = never
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deeds = append(c.deeds, o)
}

// exchange is a request and its answer, if there is one.
type exchange struct {
	what      string
	call, end int64
	status    int // 0 without an answer
	header    http.Header
	body      []byte
}

// lost reports whether the answer doesn't say what has happened.
func (e exchange) lost() bool { return e.status == 0 || e.status == http.StatusServiceUnavailable }

func (e exchange) String() string {
	return fmt.Sprintf("%s: %d %.300s", e.what, e.status, e.body)
}

// exchange sends a request to a server that listens.
func (c *historian) exchange(method, path, token string, body any, header ...string) exchange {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			c.t.Error(err)
		}
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		x := c.only
		if x == nil {
			x = c.server()
		}
		e, err := c.send(x, method, path, token, content, header...)
		if opErr := new(net.OpError); !errors.As(err, &opErr) || opErr.Op != "dial" {
			return e
		}
		if time.Now().After(end) {
			c.t.Errorf("timeout after two minutes: %v", err)
			return e
		}
	}
}

func (c *historian) send(x *server, method, path, token string, content []byte, header ...string) (e exchange, err error) {
	q, err := http.NewRequestWithContext(context.WithoutCancel(c.t.Context()), method, x.url+path, bytes.NewReader(content))
	if err != nil {
		return e, err
	}
	if strings.HasPrefix(path, "/api/") {
		q.Header.Set("Authorization", "Token "+token)
	} else {
		q.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	e.what, e.call = method+" "+path, time.Since(c.start).Nanoseconds()
	r, err := c.http.Do(q)
	if err != nil {
		return e, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return e, err
	}
	e.status, e.header, e.body, e.end = r.StatusCode, r.Header, body, time.Since(c.start).Nanoseconds()
	return e, nil
}

// TestClusterHistories judges what clients of three servers see together, during each
// trouble alone and during all at the same time. FLUXKEEP_CLUSTER_HISTORIES is a number of
// further histories.
func TestClusterHistories(t *testing.T) {
	long(t, "takes a minute")
	t.Parallel()
	s := newStage(t)
	for _, x := range troubles {
		t.Run(x.name, func(t *testing.T) { s.play(t, x) })
	}
	t.Run("mixed", func(t *testing.T) { s.play(t, troubles...) })
	more := 0
	if number := os.Getenv("FLUXKEEP_CLUSTER_HISTORIES"); number != "" {
		var err error
		if more, err = strconv.Atoi(number); err != nil {
			t.Fatal(err)
		}
	}
	for i := range more {
		during := troubles
		if one := i % (2 * len(troubles)); one < len(troubles) {
			during = troubles[one : one+1]
		}
		if !t.Run(fmt.Sprintf("more/%d", i), func(t *testing.T) { s.play(t, during...) }) {
			break
		}
	}
	for _, x := range s.all {
		x.stop()
	}
	checkLogs(t, s.all, s.versions)
}

// checkLogs checks that the audit logs fit together, and that they have each version of
// some organizations once. The last versions are given.
func checkLogs(t testing.TB, of []*server, versions map[string]uint64) {
	t.Helper()
	files := logs(of)
	output(t, command(t, of[0].home, program, append([]string{"audit", "verify"}, files...)...))
	ids := map[string]map[uint64]string{} // of each organization's versions
	for line := range strings.Lines(readLogs(t, files)) {
		var r struct {
			ID, Action, Outcome, Organization string
			Version                           uint64
			Names, Removed                    []string
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if r.Action != "secrets.write" || r.Outcome != "allowed" || len(r.Names)+len(r.Removed) == 0 {
			continue
		}
		of := ids[r.Organization]
		if of == nil {
			of = map[uint64]string{}
			ids[r.Organization] = of
		}
		if id := of[r.Version]; id != "" && id != r.ID {
			t.Errorf("version %d of organization %s has two records: %s and %s", r.Version, r.Organization, id, r.ID)
		}
		of[r.Version] = r.ID
	}
	for org, last := range versions {
		if got := uint64(len(ids[org])); got != last {
			t.Errorf("organization %s has %d versions, and the audit logs have %d", org, last, got)
		}
	}
}
