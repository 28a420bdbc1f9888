package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAttackFloods floods a server that runs with its default flags. During each
// flood, an honest client with its own token and connections waits no longer than
// a multiple of its wait on an idle server, and the server's memory stays within
// a bound.
func TestAttackFloods(t *testing.T) {
	long(t, "attacks take minutes")
	program := unraced(t)
	const mib = 1 << 20
	for _, attack := range []struct {
		name   string
		memory float64 // allowed growth, in addition to garbage not yet collected
		run    func(f *attacked)
	}{
		{"bodies of one byte", 256 * mib, func(f *attacked) {
			for i := range 4200 {
				f.send(i, "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
			}
		}},
		{"headers that don't end", 256 * mib, func(f *attacked) {
			for i := range 4200 {
				f.send(i, "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
			}
		}},
		{"polls", 512 * mib, func(f *attacked) {
			for i := range 4200 {
				f.send(i, fmt.Sprintf("GET /api/v2/orgs/%s/secrets/values?wait=5m HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nAuthorization: Token %s\r\n\r\n", f.orgID, f.tenant))
			}
		}},
		{"packed bodies of a token that is switched off", 256 * mib, func(f *attacked) { f.bombs(f.off) }},
		{"packed bodies of a tenant", 768 * mib, func(f *attacked) { f.bombs(f.tenant) }},
		{"many names of a reader", 256 * mib, func(f *attacked) {
			body := "{" + strings.Repeat(`"":0,`, 1_600_000/5)
			f.parallel(16, 48, func() error {
				for _, path := range []string{"/api/v2/orgs/" + f.orgID + "/secrets", "/v1/secret/data/" + f.orgID} {
					if status, err := f.refusedBody(path, body); err == nil && status != 401 && status != 403 && status != 404 {
						return fmt.Errorf("%s: answered %d", path, status)
					}
				}
				return nil
			})
		}},
		{"setups and passwords", 256 * mib, func(f *attacked) {
			f.parallel(60, 600, func() error {
				for _, path := range []string{"/api/v2/setup", "/api/v2/users/" + f.userID + "/password"} {
					status, err := f.post(path, f.off, `{"username":"a","password":"battery staple","org":"o","bucket":"b"}`)
					if err != nil || status < 400 || status == 500 {
						return fmt.Errorf("%s: answered %d, %w", path, status, err)
					}
				}
				return nil
			})
		}},
		{"readers that don't take a large document", 1024 * mib, func(f *attacked) {
			f.large(60 * mib)
			for i := range 20 {
				path := []string{"/v1/secret/data/" + f.orgID, "/api/v2/orgs/" + f.orgID + "/secrets/values"}[i%2]
				f.send(i, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\nAuthorization: Token %[2]s\r\n\r\n", path, f.tenant))
			}
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			f := startAttacked(t, program)
			f.endure(attack.memory, func() {
				attack.run(f)
				for range 3 { // during the flood
					f.healthy()
				}
			})
		})
	}
}

// endure runs an attack while an honest client writes and reads. It checks the client's
// waits, and that the server's memory has grown by no more than growth, and returns the
// memory from before.
func (f *attacked) endure(growth float64, attack func()) (base float64) {
	f.t.Helper()
	quiet := f.honestWait()
	base = f.memory()
	ctx, cancel := context.WithCancel(f.t.Context())
	var honest sync.WaitGroup
	var waits []time.Duration
	honest.Go(func() {
		for ctx.Err() == nil {
			waits = append(waits, f.honestWait())
		}
	})
	attack()
	cancel()
	honest.Wait()
	f.waited(quiet, waits)
	f.bounded(base, growth)
	return base
}

// attacked is a server under attack.
type attacked struct {
	*flood
	attackAddress string // the server's own, when url is another
	userID        string
	tenant        string // owns an organization
	off           string // an inactive user's token
	reader        string // reads the organization's secrets
}

func startAttacked(t *testing.T, program string, flags ...string) *attacked {
	f := &attacked{flood: &flood{server: startProgram(t, program, anyAddress, append(flags, attackedStore(t)...)...)}}
	f.attackAddress = f.address()
	if slices.Contains(flags, "--tls-cert") {
		f.url = "http://" + relayTLS(t, f.attackAddress)
	}
	f.setUp()
	t.Cleanup(f.hangUp)
	var me struct{ ID string }
	f.json("GET", "/api/v2/me", "", &me)
	f.userID = me.ID
	f.tenant = f.makeToken("write", "active")
	f.reader = f.makeToken("none", "active")
	f.off = f.makeToken("write", "inactive")
	return f
}

func (f *attacked) json(method, path, body string, into any) {
	f.t.Helper()
	status, answer, err := f.do(method, path, f.token, []byte(body))
	if err != nil || status/100 != 2 || json.Unmarshal(answer, into) != nil {
		f.t.Fatalf("%s %s: %d %s, %v", method, path, status, answer, err)
	}
}

func (f *attacked) makeToken(rights, state string) string {
	f.t.Helper()
	permissions := fmt.Sprintf(`{"action":"read","resource":{"type":"orgs","id":%q}}`, f.orgID)
	if rights == "write" {
		for _, action := range []string{"read", "write"} {
			permissions += fmt.Sprintf(`,{"action":%q,"resource":{"type":"secrets","orgID":%q}}`, action, f.orgID)
		}
	}
	var made struct{ Token string }
	f.json("POST", "/api/v2/authorizations", fmt.Sprintf(`{"orgID":%q,"status":%q,"permissions":[%s]}`, f.orgID, state, permissions), &made)
	return made.Token
}

// send opens a connection from one of a few addresses and sends text.
func (f *attacked) send(i int, text string) {
	d := net.Dialer{Timeout: time.Minute}
	if addr := net.IPv4(127, 0, 1, byte(1+i%8)); i%2 == 0 {
		d.LocalAddr = &net.TCPAddr{IP: addr}
	}
	c, err := d.DialContext(f.t.Context(), "tcp", f.address())
	if err != nil {
		return // the server refuses the attacker's connection
	}
	f.conns = append(f.conns, c)
	_, _ = io.WriteString(c, text) // the server may refuse it here too
}

// bombs sends compressed bodies without their last byte.
func (f *attacked) bombs(token string) {
	bomb := packed(f.t, 8<<20-100)
	for i := range 260 {
		text := fmt.Sprintf("PATCH /api/v2/orgs/%s/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Token %s\r\n", f.orgID, token)
		if i%2 == 1 {
			text = fmt.Sprintf("POST /v1/secret/data/%s HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\n", f.orgID, token)
		}
		f.send(i, text+fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(bomb), bomb[:len(bomb)-1]))
	}
}

// large creates a document of the given size in the organization.
func (f *attacked) large(size int) {
	value := strings.Repeat("x", 1<<20)
	for i := range size >> 20 {
		status, answer, err := f.do("PATCH", "/api/v2/orgs/"+f.orgID+"/secrets", f.token, fmt.Appendf(nil, `{"n%d":%q}`, i, value))
		if err != nil || status != http.StatusNoContent {
			f.t.Fatalf("%d %s, %v", status, answer, err)
		}
	}
}

func (f *attacked) refusedBody(path, body string) (int, error) {
	return f.request(http.MethodPost, path, f.reader, strings.NewReader(body))
}

func (f *attacked) post(path, token, body string) (int, error) {
	return f.request(http.MethodPost, path, token, strings.NewReader(body))
}

func (f *attacked) request(method, path, token string, body io.Reader) (int, error) {
	if strings.HasSuffix(path, "/secrets") {
		method = http.MethodPatch
	}
	q, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, body)
	if err != nil {
		return 0, err
	}
	q.Header.Set("Authorization", "Token "+token)
	q.Header.Set("X-Vault-Token", token)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return r.StatusCode, err
}

// parallel calls do the given number of times, several at once.
func (f *attacked) parallel(workers, times int, do func() error) {
	work := make(chan struct{})
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range work {
				if err := do(); err != nil {
					f.t.Error(err)
				}
			}
		})
	}
	for range times {
		work <- struct{}{}
	}
	close(work)
	group.Wait()
}

// honestWait measures how long an honest client waits for a write and a read over
// a new connection. The client retries when the server asks it to or closes the
// connection.
func (f *attacked) honestWait() time.Duration {
	begin := time.Now()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	honest := http.Client{Transport: transport, Timeout: 2 * time.Minute}
	name := f.secretName("HONEST")
	for _, step := range []struct{ method, path, body string }{
		{"PATCH", "/api/v2/orgs/" + f.orgID + "/secrets", fmt.Sprintf(`{%q:"x"}`, name)},
		{"GET", "/api/v2/orgs/" + f.orgID + "/secrets/values?name=" + name, ""},
	} {
		for {
			q, err := http.NewRequest(step.method, f.url+step.path, bytes.NewReader([]byte(step.body)))
			if err != nil {
				f.t.Error(err)
				return 0
			}
			q.Header.Set("Authorization", "Token "+f.token)
			r, err := honest.Do(q)
			if err == nil {
				r.Body.Close()
				if r.StatusCode/100 == 2 {
					break
				}
			}
			if time.Since(begin) > 2*time.Minute {
				f.t.Errorf("an honest %s fails: %v", step.method, err)
				return time.Since(begin)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return time.Since(begin)
}

// waited checks the honest client's waits during an attack.
func (f *attacked) waited(quiet time.Duration, waits []time.Duration) {
	f.t.Helper()
	slices.Sort(waits)
	median, most := waits[len(waits)/2], waits[len(waits)-1]
	f.t.Logf("an honest client waited %v (median) and %v (longest) in %d attempts; %v before the attack", median, most, len(waits), quiet)
	// The attackers run on the same cores.
	if limit := max(100*quiet, 2*time.Second); median > limit {
		f.t.Errorf("the median is more than %v", limit)
	}
	if limit := max(500*quiet, 20*time.Second); most > limit {
		f.t.Errorf("the longest is more than %v", limit)
	}
}

// healthy checks that health checks and metrics are answered.
func (f *attacked) healthy() {
	for _, path := range []string{"/health", "/ready", "/metrics"} {
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}).Get(f.url + path)
		if err != nil {
			f.t.Errorf("%s: %v", path, err)
			continue
		}
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			f.t.Errorf("%s: answered %d", path, r.StatusCode)
		}
	}
}
