package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

// page is the web page of a server, in which somebody is signed in with a token.
type page struct {
	s      *server
	client *http.Client
}

func (s *server) page() *page {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &page{s, &http.Client{Jar: jar}}
	p.post("/ui/sign-in", "token", s.token)
	return p
}

func (p *page) get(path string) string {
	p.s.t.Helper()
	answer, err := p.client.Get(p.s.url + path)
	return p.text(answer, err)
}

func (p *page) post(path string, fields ...string) string {
	p.s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	answer, err := p.client.PostForm(p.s.url+path, form)
	return p.text(answer, err)
}

func (p *page) text(answer *http.Response, err error) string {
	p.s.t.Helper()
	if err != nil {
		p.s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		p.s.t.Fatalf("%s: %s, %v", answer.Request.URL.Path, answer.Status, err)
	}
	return string(body)
}

var pre = regexp.MustCompile(`(?s)<pre id="([^"]+)" translate="no">(.*?)</pre>`)

// snippets returns the texts of a page that "Copy" copies, by their IDs.
func snippets(page string) map[string]string {
	texts := map[string]string{}
	for _, m := range pre.FindAllStringSubmatch(page, -1) {
		texts[m[1]] = html.UnescapeString(m[2])
	}
	return texts
}

// shell runs what somebody pastes into a shell, and returns what it prints.
func (s *server) shell(text string, env ...string) string {
	s.t.Helper()
	cmd := command(s.t, s.home, "sh", "-c", text)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(s.program)+":"+s.home+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	return output(s.t, cmd)
}

// TestSnippets runs what the page copies for a secret, in each language with the program
// itself; for vault, whose command line no registry has, with its client.
func TestSnippets(t *testing.T) {
	t.Parallel()
	flux := fluxProgram(t)
	telegraf := telegraf(t)
	s := startSetUp(t)
	secrets := map[string]string{}
	for i, prefix := range []string{"plain", "it's $HOME `x` \"y\" ${z} --json", "-n", "ключ&a=b#c", "back\\slash\nand a line", "@{other:x}"} {
		secrets[s.secretName(prefix)] = s.private(fmt.Sprint(i, " \"value\"\nof two lines"))
	}
	s.set(secrets)
	s.installVault()

	// A recipe has the configuration of Telegraf's store, for its own token.
	p := s.page()
	made := snippets(p.post("/ui/orgs/"+s.orgID+"/access/new", "recipe", "telegraf", "description", "telegraf", "names", "", "expires", "0"))
	token := s.confide(made["token"])
	store := made["snippet"]

	list := p.get("/ui/orgs/" + s.orgID + "/secrets")
	refs := regexp.MustCompile(`/ui/orgs/[0-9a-f]{16}/secrets/[A-Za-z0-9_-]{16}"`).FindAllString(list, -1)
	if len(refs) != len(secrets) {
		t.Fatalf("the list has %d secrets", len(refs))
	}
	names := slices.Sorted(maps.Keys(secrets)) // as in the list
	for i, name := range names {
		copied, value := snippets(p.get(strings.TrimSuffix(refs[i], `"`))), secrets[name]
		if got, err := s.evaluate(flux, token, copied["snippet-flux"], "secret"); err != nil || got != value {
			t.Errorf("Flux reads %q as %q, %v", name, got, err)
		}
		if got := s.shell(copied["snippet-vault"], "VAULT_TOKEN="+token); got != value {
			t.Errorf("vault reads %q as %q", name, got)
		}
		if got := s.shell(copied["snippet-cli"], "INFLUX_TOKEN="+token); strings.TrimSuffix(got, "\n") != value {
			t.Errorf("fluxkeep reads %q as %q", name, got)
		}
		s.wantObject(copied["snippet-curl"], token, map[string]string{name: value})
		if !strings.HasPrefix(name, "plain") {
			if text := copied["snippet-telegraf"]; text != "" {
				t.Errorf("there is a snippet for Telegraf, which can't refer to %q: %s", name, text)
			}
			continue
		}
		s.set(map[string]string{name: s.private("one line")}) // as headers are
		g := newGuarded(t, s.private("one line"))
		cmd := s.newCollector(telegraf, store, g, copied["snippet-telegraf"]).command(s, "--once")
		cmd.Env = append(cmd.Env, "TOKEN="+token)
		if output(t, cmd); g.served() == 0 || g.denied > 0 {
			t.Errorf("Telegraf: %d requests with the secret, %d without", g.served(), g.denied)
		}
	}

	// A snippet for several secrets.
	s.set(secrets)
	copied := snippets(p.post("/ui/orgs/"+s.orgID+"/secrets/snippets", "all", "1"))
	values := ""
	for i, name := range names {
		values += secrets[name]
		if got, err := s.evaluate(flux, token, copied["snippet-flux"], fmt.Sprint("secret", i+1)); err != nil || got != secrets[name] {
			t.Errorf("Flux reads %q among others as %q, %v", name, got, err)
		}
	}
	if got := s.shell(copied["snippet-vault"], "VAULT_TOKEN="+token); got != values {
		t.Errorf("vault reads all as %q", got)
	}
	s.wantObject(copied["snippet-cli"], token, secrets)
	s.wantObject(copied["snippet-curl"], token, secrets)
}

// wantObject fails unless a snippet prints a JSON object of secrets.
func (s *server) wantObject(snippet, token string, want map[string]string) {
	s.t.Helper()
	var got map[string]string
	if err := json.Unmarshal([]byte(s.shell(snippet, "INFLUX_TOKEN="+token)), &got); err != nil || !maps.Equal(got, want) {
		s.t.Errorf("%s prints %q, %v", snippet, got, err)
	}
}

// TestRecipes runs what the page shows with a new token.
func TestRecipes(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	name, value := s.secretName("db_password"), s.private("value")
	s.set(map[string]string{name: value})
	p := s.page()
	create := func(recipe string) (copied map[string]string, token string) {
		t.Helper()
		copied = snippets(p.post("/ui/orgs/"+s.orgID+"/access/new", "recipe", recipe, "description", recipe, "names", s.secretName("*"), "expires", "0"))
		token = s.confide(copied["token"])
		for _, file := range []string{"token", "influxd.token"} {
			if err := os.WriteFile(filepath.Join(s.home, file), []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return copied, token
	}
	// influxd and the program are scripts, which print what they got.
	for _, program := range []string{"influxd", "program"} {
		script := "#!/bin/sh\necho \"$VAULT_ADDR $VAULT_TOKEN $* $" + name + "\"\n"
		if err := os.WriteFile(filepath.Join(s.home, program), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, recipe := range []string{"program", "names"} {
		copied, token := create(recipe)
		if got := s.shell(copied["snippet"]); strings.TrimSpace(got) != value {
			t.Errorf("%s: the program gets %q", recipe, got)
		}
		s.wantObject(copied["snippet-curl"], token, map[string]string{name: value})
	}
	copied, token := create("influxd")
	if got, want := strings.TrimSpace(s.shell(copied["snippet"])), s.url+"/influxd "+token+" --secret-store vault"; got != want {
		t.Errorf("influxd gets %q, want %q", got, want)
	}
	copied, token = create("ci")
	if err := os.WriteFile(filepath.Join(s.home, "file"), []byte(s.private("set")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.shell(strings.ReplaceAll(copied["snippet"], "NAME", name), "INFLUX_TOKEN="+token)
	s.wantValues(map[string]string{name: s.private("set")})
}

// installVault puts a program called vault into the folder of the clients: this one.
func (s *server) installVault() {
	s.t.Helper()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(s.home, "vault"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// vaultGet does what "vault kv get" does for a program that reads its output.
func vaultGet(args []string) (status int) {
	err := func() error {
		flags := flag.NewFlagSet("vault kv get", flag.ContinueOnError)
		mount, field := flags.String("mount", "", ""), flags.String("field", "", "")
		if len(args) < 2 || args[0] != "kv" || args[1] != "get" {
			return fmt.Errorf("unknown command %q", args)
		}
		if err := flags.Parse(args[2:]); err != nil || flags.NArg() != 1 {
			return errors.Join(err, errors.New("one path is expected"))
		}
		c, err := api.NewClient(nil) // as the environment says
		if err != nil {
			return err
		}
		secret, err := c.KVv2(*mount).Get(context.Background(), flags.Arg(0))
		if err != nil {
			return err
		}
		value, ok := secret.Data[*field].(string)
		if !ok {
			return fmt.Errorf("there is no field %q", *field)
		}
		fmt.Print(value)
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		return 2
	}
	return 0
}
