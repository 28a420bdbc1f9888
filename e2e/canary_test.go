package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// day is a server with every kind of log and trace enabled, and everything that it
// has written or answered, apart from its files.
type day struct {
	*server
	mu       sync.Mutex
	traces   int
	searched int // answers, traces, metrics and printed texts
	requests int
}

// TestCanaryDay packs a server's day into a minute: all kinds of traffic, all kinds
// of mistakes that clients make with values, tokens and passwords, maintenance, and
// crashes. None of the confidential texts may be readable anywhere except in the
// answers to requests for them.
func TestCanaryDay(t *testing.T) {
	d := &day{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			if z, err := gzip.NewReader(r.Body); err == nil {
				body = z
			}
		}
		content, err := io.ReadAll(body)
		if err != nil {
			return // the server was killed
		}
		d.mu.Lock()
		d.traces++
		d.mu.Unlock()
		d.search("a trace", content, true)
	}))
	t.Cleanup(collector.Close) // after the server, which may still be sending, has ended
	d.server = startSetUp(t, "--trace-endpoint", collector.URL, "--audit-max-size", "64KiB")
	for hour := range 3 {
		d.traffic()
		d.mistakes()
		d.commands()
		switch hour {
		case 0:
			d.fluxkeep("", "key", "rotate")
			d.kill()
			d.again()
		case 1:
			d.fluxkeep("", "compact")
			d.stop()
			d.offline()
			d.again()
		}
		status, metrics, err := d.do("GET", "/metrics", "", nil)
		if err != nil || status != 200 || !bytes.Contains(metrics, []byte("fluxkeep_http")) {
			t.Fatalf("metrics: %d %v", status, err)
		}
		d.search("the metrics", metrics, true)
		d.checkNothingReadable()
	}
	eventually(t, "trace", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.traces > 0 })
	d.oldBytes()
	d.stop()
	_, files, err := d.secrets.search(d.dir, d.logFile)
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Logf("%d requests; %d texts and %d files searched for %d canaries in %d forms each; %d traces",
		d.requests, d.searched, files, len(d.secrets.tokens)+2, len(forms("x")), d.traces)
}

// search looks for canaries in the server's output. Names are allowed only where a
// client supplied them.
func (d *day) search(what string, content []byte, names bool) {
	d.mu.Lock()
	d.searched++
	d.mu.Unlock()
	c := &confidential{name: d.secrets.name, other: d.secrets.other}
	d.secrets.mu.Lock()
	c.tokens = append(c.tokens, d.secrets.tokens...)
	d.secrets.mu.Unlock()
	if !names {
		// An answer may repeat the name of a secret, a user or an organization.
		c.name, c.other = c.tokens[0], c.tokens[0]
	}
	for _, found := range c.in(content, false) {
		d.t.Errorf("readable in %s: %s", what, found)
	}
}

// canary returns a text that must not be found anywhere.
func (d *day) canary(kind string) string { return d.confide(kind + "-" + randomWord()) }

// ask sends a request and expects a status; 0 stands for any status below 500. An
// answer that refuses the request must not repeat its content.
func (d *day) ask(status int, method, path, body string, headers ...string) string {
	d.t.Helper()
	q, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	q.Header.Set("Authorization", "Token "+d.token)
	q.Header.Set("X-Vault-Token", d.token)
	for i := 0; i+1 < len(headers); i += 2 {
		if q.Header.Set(headers[i], headers[i+1]); headers[i] == "Authorization" {
			q.Header.Del("X-Vault-Token")
		}
	}
	r, err := (&http.Client{Timeout: time.Minute, Transport: http.DefaultTransport}).Do(q)
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	d.requests++
	if r.StatusCode != status && status != 0 || r.StatusCode >= 500 {
		d.t.Errorf("%s %s: %d %s, want %d", method, path, r.StatusCode, answer, status)
	}
	if r.StatusCode >= 400 {
		d.search("an error", answer, false)
		for name, values := range r.Header {
			d.search("the header "+name, []byte(strings.Join(values, " ")), false)
		}
	}
	return string(answer)
}

// traffic sends valid requests.
func (d *day) traffic() {
	secrets, data := "/api/v2/orgs/"+d.orgID+"/secrets", "/v1/secret/data/"+d.orgID
	v := func() string { return d.canary("value") }
	d.ask(204, "PATCH", secrets, fmt.Sprintf(`{%q:%q,%q:%q}`, d.secretName("a"), v(), d.secretName("b"), v()))
	d.ask(200, "GET", secrets, "")
	d.ask(200, "GET", secrets+"/values", "")
	d.ask(200, "PATCH", secrets+"/values", fmt.Sprintf(`{%q:%q}`, d.secretName("c"), v()))
	d.ask(204, "DELETE", secrets+"/"+d.secretName("b"), "")
	d.ask(200, "GET", secrets+"/history", "")
	d.ask(200, "GET", data, "")
	d.ask(200, "POST", data, fmt.Sprintf(`{"data":{%q:%q,%q:%q}}`, d.secretName("a"), v(), d.secretName("d"), v()))
	d.ask(200, "PATCH", data, fmt.Sprintf(`{"data":{%q:%q}}`, d.secretName("e"), v()), "Content-Type", "application/merge-patch+json")
	d.ask(200, "PUT", "/influxd"+data, fmt.Sprintf(`{"data":{%q:%q}}`, d.secretName("a"), v()))
	d.ask(204, "DELETE", data, "")
	d.ask(200, "POST", data, fmt.Sprintf(`{"data":{%q:%q}}`, d.secretName("a"), v()))
	d.ask(204, "POST", "/v1/secret/metadata/"+d.orgID, fmt.Sprintf(`{"custom_metadata":{"owner":%q}}`, v()))
	t := d.newToken("read", "write")
	login := d.ask(200, "PUT", "/v1/auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, t.ID, t.Token))
	_, rest, _ := strings.Cut(login, `"client_token":"`)
	client, _, _ := strings.Cut(rest, `"`)
	d.confide(client)
	d.ask(200, "GET", data, "", "X-Vault-Token", client)
	d.ask(200, "POST", "/v1/auth/token/renew-self", "", "X-Vault-Token", client)
	d.ask(204, "POST", "/v1/auth/token/revoke-self", "", "X-Vault-Token", client)
	d.ask(204, "POST", "/api/v2/signin", "", "Authorization", basic(d.user, d.password))
	user := d.ask(201, "POST", "/api/v2/users", fmt.Sprintf(`{"name":%q}`, d.private("user-"+randomWord())))
	_, rest, _ = strings.Cut(user, `"id": "`)
	d.ask(204, "POST", "/api/v2/users/"+rest[:16]+"/password", fmt.Sprintf(`{"password":%q}`, d.canary("password")))
}

func basic(user, password string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// mistakes sends requests with confidential text in the wrong place.
func (d *day) mistakes() {
	secrets, data := "/api/v2/orgs/"+d.orgID+"/secrets", "/v1/secret/data/"+d.orgID
	for _, path := range []string{secrets, data, secrets + "/values", "/api/v2/authorizations", "/api/v2/users", "/api/v2/orgs", "/v1/auth/approle/login"} {
		method := "POST"
		if strings.HasPrefix(path, secrets) {
			method = "PATCH"
		}
		for _, body := range []string{`{"k":"%s"`, `{"k":["%s"]}`, `["%s"]`, `%s`, `{"%s`, `{"k":"%s","k":"x"}`, "{\"k\":\"%s\xff\"}", `{"data":"%s"}`, `{"name":{"%s":1}}`, `{"status":"%s"}`} {
			d.ask(0, method, path, fmt.Sprintf(body, d.canary("value")))
		}
	}
	d.ask(413, "PATCH", secrets, `{"k":"`+strings.Repeat(d.canary("value"), 100_000)+`"}`)
	for _, wrong := range []string{"Token ", "Bearer ", "Basic ", "", "Token"} {
		d.ask(0, "GET", secrets, "", "Authorization", wrong+d.canary("token"))
	}
	d.ask(403, "GET", data, "", "X-Vault-Token", d.canary("token"), "Authorization", "Bearer "+d.canary("token"))
	d.ask(401, "POST", "/api/v2/signin", "", "Authorization", basic(d.user, d.canary("password")))
	d.ask(401, "POST", "/api/v2/signin", "", "Authorization", basic(d.canary("password"), d.canary("password")))
	d.ask(400, "PUT", "/v1/auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, d.canary("token"), d.canary("token")))
	d.ask(0, "POST", "/api/v2/setup", fmt.Sprintf(`{"username":"x","password":%q,"org":"x","bucket":"x"}`, d.canary("password")))
	// In the URL: the answer must not repeat it.
	for _, path := range []string{
		"/api/v2/authorizations/", "/api/v2/users/", "/api/v2/orgs/", "/api/v2/", "/v1/", "/", "/influxd/v1/", "/v1/secret/destroy/", "/metrics/",
	} {
		d.ask(0, "GET", path+d.canary("token"), "", "Authorization", "Token "+d.canary("token"))
	}
	for _, path := range []string{secrets, data, "/health", "/api/v2/me", "/v1/auth/token/lookup-self"} {
		d.ask(0, "GET", path+"?token="+d.canary("token")+"&p="+d.canary("password"), "")
		d.ask(0, "GET", path+"?"+d.canary("value")+"=%zz", "")
	}
	d.ask(0, "GET", secrets, "", "X-Request-Id", d.canary("token"), "Traceparent", d.canary("token"), "Uber-Trace-Id", d.canary("token"),
		"Zap-Trace-Span", `{"trace_id":"1","span_id":"1","baggage":{"k":"`+d.canary("value")+`"}}`, "User-Agent", d.canary("token"),
		"Referer", "http://example.com/?"+d.canary("token"), "Cookie", "influxdb-oss-session="+d.canary("token"), "X-Forwarded-For", d.canary("value"),
		"X-Vault-Namespace", d.canary("token"), "Content-Type", d.canary("value"), "If-None-Match", d.canary("value"))
	d.ask(0, strings.ToUpper(strings.ReplaceAll(d.canary("method"), "-", "")), secrets, "")
	// Not even HTTP.
	for _, text := range []string{"GET /%s HTTP/9.9\r\n\r\n", "%s\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", "POST /api/v2/setup HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n"} {
		d.send(fmt.Sprintf(text, d.canary("token")))
	}
}

// send writes bytes to the server and reads the answer.
func (d *day) send(text string) {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.address())
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		d.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		d.t.Fatal(err)
	}
	answer, _ := io.ReadAll(bufio.NewReader(conn)) // the server may close the connection
	d.requests++
	d.search("the answer to what is no request", answer, false)
}

// commands runs valid and invalid commands, and searches their output, except for
// the values that they were asked to print.
func (d *day) commands() {
	value := d.canary("value")
	d.fluxkeep(value, "secret", "set", d.secretName("cli"))
	if got := d.fluxkeep("", "secret", "get", d.secretName("cli")); strings.TrimSpace(got) != value {
		d.t.Errorf("the command line gets %q", got)
	}
	file := filepath.Join(d.home, "bad.json")
	if err := os.WriteFile(file, []byte(`{"a":"`+d.canary("value")+`","b":["`+d.canary("value")+`"]}`), 0o600); err != nil {
		d.t.Fatal(err)
	}
	wrong := d.canary("token")
	for _, args := range [][]string{
		{"secret", "import", file}, {"secret", "get", "missing"}, {"org", "list"}, {"secret", "list", "--org", "nobody"}, {"backup", "--output", file + "/no"},
	} {
		cmd := command(d.t, d.home, program, args...)
		token := d.token
		if args[0] == "org" {
			token = wrong
		}
		cmd.Env = append(cmd.Env, "INFLUX_HOST="+d.url, "INFLUX_TOKEN="+token, "INFLUX_ORG="+d.org)
		out, err := cmd.CombinedOutput()
		if err == nil {
			d.t.Errorf("%v succeeded: %s", args, out)
		}
		d.search("a command's output", out, false)
	}
	backup := filepath.Join(d.dir, "..", "fluxkeep.backup")
	d.fluxkeep("", "backup", "--output", backup, "--force")
	content, err := os.ReadFile(backup)
	if err != nil {
		d.t.Fatal(err)
	}
	d.search("a backup", content, true)
}

// offline runs the commands that work on a stopped server's data folder.
func (d *day) offline() {
	for _, args := range [][]string{{"doctor", "--data-dir", d.dir}, {"audit", "verify", "--data-dir", d.dir}} {
		d.search("a command's output", []byte(output(d.t, command(d.t, d.home, program, args...))), true)
	}
}

// oldBytes deletes, destroys and prunes until no version has the old values, and
// looks for their sealed bytes, which it takes from a backup.
func (d *day) oldBytes() {
	d.t.Helper()
	file := filepath.Join(d.dir, "..", "old.backup")
	d.set(map[string]string{d.secretName("gone"): d.canary("value"), d.secretName("kept"): d.canary("value")})
	d.fluxkeep("", "backup", "--output", file, "--force")
	old := d.records(file)
	d.ask(204, "DELETE", "/api/v2/orgs/"+d.orgID+"/secrets/"+d.secretName("gone"), "")
	for range 12 { // more than max_versions
		d.ask(200, "PUT", "/v1/secret/data/"+d.orgID, fmt.Sprintf(`{"data":{"x":%q}}`, d.canary("value")))
	}
	if n := d.find(old); n == 0 {
		d.t.Error("the search doesn't find records that were just written")
	}
	d.fluxkeep("", "compact")
	d.fluxkeep("", "backup", "--output", file, "--force")
	var gone [][]byte
	now := map[string]bool{}
	for _, r := range d.records(file) {
		now[string(r)] = true
	}
	for _, r := range old {
		if !now[string(r)] {
			gone = append(gone, r)
		}
	}
	if len(gone) < 5 {
		d.t.Errorf("only %d records were removed", len(gone))
	}
	if n := d.find(gone); n > 0 {
		d.t.Errorf("of %d removed records, %d are still on the disk", len(gone), n)
	}
}

// records returns a part of each sealed value in a backup.
func (d *day) records(path string) (parts [][]byte) {
	d.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	r := bufio.NewReader(bytes.NewReader(content))
	for range 2 { // the magic and the header
		if _, err := r.ReadBytes('\n'); err != nil {
			d.t.Fatal(err)
		}
	}
	part := func(n uint64) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			d.t.Fatal(err)
		}
		return b
	}
	for {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			d.t.Fatal(err)
		}
		if n == 0 {
			return parts
		}
		part(n - 1)
		if n, err = binary.ReadUvarint(r); err != nil {
			d.t.Fatal(err)
		}
		sealed := part(n)
		// Not the beginning, which names the key, and not everything: the file may
		// have a checksum in between.
		parts = append(parts, sealed[max(0, len(sealed)-24):])
	}
}

// find returns how many of the texts are in the data folder.
func (d *day) find(texts [][]byte) (n int) {
	d.t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // a running server removes files
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for _, text := range texts {
			if bytes.Contains(content, text) {
				found[string(text)] = true
			}
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return len(found)
}
