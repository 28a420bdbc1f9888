package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// guarded is a web server from which Telegraf collects metrics, and which requires a
// secret in a header.
type guarded struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	taken  int // requests with the secret
	denied int
}

func newGuarded(t *testing.T, secret string) *guarded {
	g := &guarded{secret: secret}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Header.Get("X-Api-Key") != g.secret {
		g.denied++
		w.WriteHeader(http.StatusForbidden)
		return
	}
	g.taken++
	fmt.Fprint(w, `{"temperature":21.5}`)
}

// change changes the required secret.
func (g *guarded) change(secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.secret, g.taken = secret, 0
}

func (g *guarded) served() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken
}

// collector is a Telegraf with a configuration.
type collector struct {
	program, config, result string
}

// newCollector writes a configuration that collects from g with the secret that a
// reference to the given secret store (its TOML) has.
func (s *server) newCollector(program, store string, g *guarded, reference string) collector {
	s.t.Helper()
	dir := s.t.TempDir()
	c := collector{program, filepath.Join(dir, "telegraf.conf"), filepath.Join(dir, "metrics")}
	config := `
[agent]
  interval = "1s"
  flush_interval = "1s"
  omit_hostname = true
` + store + fmt.Sprintf(`
[[inputs.http]]
  urls = [%q]
  data_format = "json"
  headers = {"X-Api-Key" = %q}
[[outputs.file]]
  files = [%q]
`, g.URL, reference, c.result)
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (c collector) command(s *server, args ...string) *exec.Cmd {
	s.t.Helper()
	return command(s.t, s.home, c.program, append([]string{"--config", c.config}, args...)...)
}

// secrets runs "telegraf secrets". Flags come before the command.
func (c collector) secrets(s *server, args ...string) string {
	s.t.Helper()
	return output(s.t, c.command(s, append([]string{"secrets"}, args...)...))
}

// vaultStore is the configuration of secretstores.vault.
func (s *server) vaultStore(address string, token client.Token) string {
	return fmt.Sprintf(`
[[secretstores.vault]]
  id = "kept"
  address = %q
  mount_path = "secret"
  secret_path = %q
  [secretstores.vault.approle]
    role_id = %q
    secret = %q
`, address, s.org, token.ID, token.Token)
}

// httpStore is the configuration of secretstores.http.
func (s *server) httpStore(token client.Token) string {
	return fmt.Sprintf(`
[[secretstores.http]]
  id = "kept"
  url = "%s/api/v2/orgs/%s/secrets/values"
  token = %q
`, s.url, s.orgID, token.Token)
}

func TestTelegraf(t *testing.T) {
	t.Parallel()
	program := telegraf(t)
	for _, kind := range []string{"vault", "http"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := startSetUp(t)
			name, key := s.secretName("api_key"), s.private("key")
			s.set(map[string]string{name: key, s.secretName("other"): s.private("other")})
			g := newGuarded(t, key)
			store := s.httpStore(s.newToken(client.Read))
			if kind == "vault" {
				store = s.vaultStore(s.url, s.newToken(client.Read))
			}
			c := s.newCollector(program, store, g, "@{kept:"+name+"}")
			output(t, c.command(s, "--once"))
			metrics, err := os.ReadFile(c.result)
			if err != nil || !strings.Contains(string(metrics), "temperature=21.5") || g.denied > 0 {
				t.Errorf("collected %q, %v; %d requests were denied", metrics, err, g.denied)
			}
			if kind == "http" {
				return // the commands find nothing in such a store, with any server
			}
			if got := c.secrets(s, "get", "kept", name); !strings.Contains(got, key) {
				t.Errorf("telegraf secrets get prints %q", got)
			}
			if got := c.secrets(s, "list"); !strings.Contains(got, name) || !strings.Contains(got, s.secretName("other")) {
				t.Errorf("telegraf secrets list prints %q", got)
			}
		})
	}
}

// TestTelegrafGoesOn runs Telegraf while its secret changes and the server crashes.
func TestTelegrafGoesOn(t *testing.T) {
	t.Parallel()
	program := telegraf(t)
	s := startSetUp(t)
	name := s.secretName("api_key")
	s.set(map[string]string{name: s.private("first")})
	g := newGuarded(t, s.private("first"))
	c := s.newCollector(program, s.vaultStore(s.url, s.newToken(client.Read)), g, "@{kept:"+name+"}")
	cmd := c.command(s)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	defer func() {
		stop()
		if t.Failed() {
			t.Logf("telegraf says:\n%s", out.String())
		}
	}()

	eventually(t, "request with the first secret", func() bool { return g.served() > 1 })
	s.set(map[string]string{name: s.private("second")})
	g.change(s.private("second"))
	eventually(t, "request with the second secret", func() bool { return g.served() > 1 })
	s.kill()
	time.Sleep(2 * time.Second) // while the server is down
	s.again()
	s.set(map[string]string{name: s.private("third")})
	g.change(s.private("third"))
	eventually(t, "request with the third secret", func() bool { return g.served() > 1 })
}

// TestTelegrafSets runs "telegraf secrets set", which replaces all secrets with the
// one that it sets. Through the address for influxd, that can be undone.
func TestTelegrafSets(t *testing.T) {
	t.Parallel()
	program := telegraf(t)
	for _, c := range []struct {
		path   string
		pinned bool
	}{{"", false}, {"/influxd", true}} {
		t.Run("/v1 below "+c.path, func(t *testing.T) {
			t.Parallel()
			s := startSetUp(t)
			before := map[string]string{s.secretName("a"): s.private("1"), s.secretName("b"): s.private("2"), s.secretName("c"): s.private("3")}
			s.set(before)
			token := s.newToken(client.Read, client.Write)
			telegraf := s.newCollector(program, s.vaultStore(s.url+c.path, token), newGuarded(t, ""), "@{kept:"+s.secretName("a")+"}")
			telegraf.secrets(s, "set", "kept", s.secretName("a"), s.private("new"))
			s.wantValues(map[string]string{s.secretName("a"): s.private("new")})

			history, err := s.operator().History(t.Context(), s.orgID)
			if err != nil || len(history) != 2 {
				t.Fatalf("history: %+v, %v", history, err)
			}
			if len(history[0].Removed) != 2 || len(history[0].Changed) != 1 || history[0].UserID == "" {
				t.Errorf("the version that it wrote: %+v", history[0])
			}
			if history[1].Pinned != c.pinned {
				t.Errorf("the version before is pinned: %v, want %v", history[1].Pinned, c.pinned)
			}
			if got := s.fluxkeep("", "secret", "history"); strings.Contains(got, "pinned") != c.pinned {
				t.Errorf("fluxkeep secret history prints:\n%s", got)
			}
			if logged := strings.Contains(s.log(), "drop"); logged != c.pinned {
				t.Errorf("the server's log mentions it: %v, want %v", logged, c.pinned)
			}
			s.fluxkeep("", "secret", "rollback", "1", "--yes")
			s.wantValues(before)
		})
	}
}
