package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProxies runs Fluxkeep behind nginx and Caddy, with the files of
// examples/proxy.
func TestProxies(t *testing.T) {
	for _, p := range []struct {
		name, program, file string
		more                func(dir, text string) string // what the file needs around it
		args                func(file string) []string
	}{
		{"nginx", "nginx", "nginx.conf", func(dir, text string) string {
			return fmt.Sprintf("user root;\ndaemon off;\nerror_log stderr;\npid %s/pid;\nevents {}\nhttp {\naccess_log %[1]s/access;\nclient_body_temp_path %[1]s/body;\nproxy_temp_path %[1]s/proxy;\nfastcgi_temp_path %[1]s/fastcgi;\nuwsgi_temp_path %[1]s/uwsgi;\nscgi_temp_path %[1]s/scgi;\n%[2]s\n}\n", dir, text)
		}, func(file string) []string { return []string{"-e", "stderr", "-c", file} }},
		{"Caddy", "caddy", "Caddyfile", func(_, text string) string {
			return "{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + text
		}, func(file string) []string { return []string{"run", "--adapter", "caddyfile", "--config", file} }},
	} {
		t.Run(p.name, func(t *testing.T) {
			from := p.program
			if from == "nginx" {
				from = "nginx-light"
			}
			program := debianProgram(t, p.program, from)
			s := start(t, "--trusted-proxies", "127.0.0.1", "--web-base", "/fluxkeep", "--web-origin", "https://keep.example")
			s.setUp()
			dir := t.TempDir()
			cert := serverCertificate(t)
			address := newAddress()
			_, port, _ := net.SplitHostPort(address)
			text := strings.NewReplacer(
				"127.0.0.1:8086", s.address(), "listen 443", "listen "+address, "keep.example {", "https://keep.example:"+port+" {",
				"/etc/ssl/keep.example.pem", cert[1], "/etc/ssl/keep.example.key", cert[3],
			).Replace(readText(t, "../examples/proxy/"+p.file))
			file := filepath.Join(dir, p.file)
			if err := os.WriteFile(file, []byte(p.more(dir, text)), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, dir, program, p.args(file)...)
			log, err := os.Create(filepath.Join(dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Signal(os.Interrupt)
				_ = cmd.Wait() // "signal: interrupt"
				if t.Failed() {
					t.Logf("%s", readText(t, log.Name()))
				}
			})
			web := proxyClient(t, address)
			eventually(t, "answer of "+p.name, func() bool {
				res, err := web.Get("https://keep.example:" + port + "/fluxkeep/health")
				if err != nil {
					return false
				}
				_ = res.Body.Close()
				return res.StatusCode == http.StatusOK
			})
			tryProxy(t, s, web, "https://keep.example:"+port+"/fluxkeep")
		})
	}
}

// proxyClient connects to a proxy from an address that tells it from the proxy.
func proxyClient(t *testing.T, address string) *http.Client {
	dialer := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	web := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
	}}
	t.Cleanup(web.CloseIdleConnections)
	return web
}

// tryProxy stores, reads and deletes a secret through a proxy.
func tryProxy(t *testing.T, s *server, web *http.Client, base string) {
	t.Helper()
	do := func(method, path, body string) (status int, answer string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Token "+s.token)
		q.Header.Set("X-Vault-Token", s.token)
		q.Header.Set("X-Forwarded-For", "203.0.113.9") // a lie
		res, err := web.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.Proto != "HTTP/2.0" {
			t.Errorf("%s %s is answered over %s", method, path, res.Proto)
		}
		return res.StatusCode, string(b)
	}
	name := s.secretName("a/b c")
	secrets := "/api/v2/orgs/" + s.orgID + "/secrets"
	body, err := json.Marshal(map[string]string{name: s.private("value")})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := do("PATCH", secrets, string(body)); status != http.StatusNoContent {
		t.Errorf("set: %d %s", status, answer)
	}
	if status, answer := do("GET", "/v1/secret/data/"+s.orgID, ""); status != http.StatusOK || !strings.Contains(answer, s.private("value")) {
		t.Errorf("read: %d %s", status, answer)
	}
	if status, answer := do("DELETE", secrets+"/"+url.PathEscape(name), ""); status != http.StatusNoContent {
		t.Errorf("delete: %d %s", status, answer)
	}
	if status, answer := do("GET", "/ui/", ""); status != http.StatusOK || !strings.Contains(answer, `"/fluxkeep/`) {
		t.Errorf("the web page: %d %s", status, answer)
	}
	if len(s.values()) != 0 {
		t.Errorf("these secrets are left: %d", len(s.values()))
	}
	log := readText(t, filepath.Join(s.dir, "audit.log"))
	if !strings.Contains(log, `"127.0.0.2`) || strings.Contains(log, "203.0.113.9") {
		t.Errorf("the audit log doesn't have the client's address:\n%s", log)
	}
}
