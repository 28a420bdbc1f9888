package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/hashicorp/vault/api"
)

const examples = "../examples/"

// TestInitContainer runs the init container's command with its environment, twice, as
// after a restart, and then the command of the application.
func TestInitContainer(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	value := s.private("it's $HOME")
	s.set(map[string]string{"db_password": value, "other": value})
	reader, err := s.operator().CreateToken(t.Context(), client.NewToken{
		OrgID: s.orgID, Permissions: client.SecretPermissions(s.orgID, client.Read), Names: []string{"db_*"},
	})
	if err != nil {
		t.Fatal(err)
	}
	type container struct {
		Args, Command []string
		Env           []struct {
			Name, Value string
			ValueFrom   struct {
				SecretKeyRef struct{ Name string } `yaml:"secretKeyRef"`
			} `yaml:"valueFrom"`
		}
	}
	var pod struct {
		Spec struct {
			InitContainers []container `yaml:"initContainers"`
			Containers     []container
		}
	}
	readYAML(t, examples+"kubernetes/init-container/pod.yaml", &pod)
	start, app := pod.Spec.InitContainers[0], pod.Spec.Containers[0]
	dir, bin := t.TempDir(), t.TempDir()
	there := func(args []string) (out []string) {
		for _, a := range args {
			out = append(out, strings.ReplaceAll(a, "/secrets/", dir+"/"))
		}
		return out
	}
	for range 2 {
		cmd := command(t, s.home, program, there(start.Args)...)
		for _, v := range start.Env {
			if v.ValueFrom.SecretKeyRef.Name != "" {
				v.Value = s.confide(reader.Token)
			}
			value := map[string]string{"https://fluxkeep.secrets.svc:8086": s.url, "acme": s.org}[v.Value]
			if value == "" {
				value = v.Value
			}
			cmd.Env = append(cmd.Env, v.Name+"="+value)
		}
		output(t, cmd)
	}
	if info, err := os.Stat(filepath.Join(dir, "app.env")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	script := "#!/bin/sh\necho \"$db_password $other\"\n"
	if err := os.WriteFile(filepath.Join(bin, "app"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	args := there(app.Command)
	cmd := command(t, s.home, args[0], args[1:]...)
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	if got := output(t, cmd); got != value+" \n" {
		t.Errorf("the application gets %q", got)
	}
}

func answerOf(t *testing.T, q *http.Request) (status int, body []byte) {
	t.Helper()
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err = io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, body
}

// TestGitHubJob sends the requests of hashicorp/vault-action, which always sends a header
// for the namespace, with a token and after an AppRole login.
func TestGitHubJob(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	value := s.private("line 1\nline 2")
	s.set(map[string]string{"deploy_key": value})
	reader := s.newToken(client.Read)
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ With map[string]string }
		}
	}
	readYAML(t, examples+"ci/github.yml", &workflow)
	with := workflow.Jobs["deploy"].Steps[0].With
	ask := func(method, path, token, body string) (answer struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
		Data struct{ Data map[string]string }
	}) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, s.url+"/v1/"+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("X-Vault-Namespace", "")
		if body != "" {
			q.Header.Set("Content-Type", "application/json")
		}
		if token != "" {
			q.Header.Set("X-Vault-Token", token)
		}
		status, text := answerOf(t, q)
		if err := json.Unmarshal(text, &answer); status != 200 || err != nil {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		return answer
	}
	login := ask("POST", "auth/approle/login", "", `{"role_id":"`+reader.ID+`","secret_id":"`+reader.Token+`"}`)
	for _, token := range []string{reader.Token, s.confide(login.Auth.ClientToken)} {
		m := regexp.MustCompile(`^(\S+) (\S+) \| DEPLOY_KEY\n$`).FindStringSubmatch(strings.ReplaceAll(with["secrets"], "acme", s.org))
		if m == nil || with["method"] != "token" {
			t.Fatalf("the step has %q", with)
		}
		if got := ask("GET", m[1], token, "").Data.Data[m[2]]; got != value {
			t.Errorf("the key is %q", got)
		}
	}
}

// TestGitLabJob sends the requests of "vault kv get".
func TestGitLabJob(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	s.set(map[string]string{"deploy_key": s.private("value")})
	var pipeline struct{ Deploy struct{ Script []string } }
	readYAML(t, examples+"ci/gitlab.yml", &pipeline)
	m := regexp.MustCompile(`vault kv get -mount=(\S+) -field=(\S+) acme\)`).FindStringSubmatch(strings.Join(pipeline.Deploy.Script, "\n"))
	if m == nil {
		t.Fatalf("the script is %q", pipeline.Deploy.Script)
	}
	c := s.vault(s.newToken(client.Read).Token)
	mount, err := c.Logical().ReadWithContext(t.Context(), "sys/internal/ui/mounts/"+m[1])
	if err != nil || mount.Data["path"] != "secret/" || fmt.Sprint(mount.Data["options"]) != "map[version:2]" {
		t.Fatalf("the mount is %+v, %v", mount, err)
	}
	got, err := c.KVv2(m[1]).Get(t.Context(), s.org)
	if err != nil || got.Data[m[2]] != s.private("value") {
		t.Errorf("the document is %+v, %v", got, err)
	}
}

// TestTerraform sends the requests of HashiCorp's Vault provider 5.11 for the example, with
// the same Go client: the provider, the resource and its deletion, and the ephemeral
// resource.
func TestTerraform(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	s.set(map[string]string{"removed": s.private("0")})
	text := readText(t, examples+"terraform/main.tf")
	for _, setting := range []string{"mount", "name"} {
		var values []string
		for _, m := range regexp.MustCompile(`(?m)^  `+setting+` += "(.*)"$`).FindAllStringSubmatch(text, -1) {
			values = append(values, m[1])
		}
		if want := map[string]string{"mount": "secret", "name": "staging"}[setting]; !slices.Equal(values, []string{want, want}) {
			t.Fatalf("%s is %q", setting, values)
		}
	}
	c := s.vault(s.newToken(client.Read, client.Write).Token)
	if self, err := c.Auth().Token().LookupSelf(); err != nil || self == nil {
		t.Fatalf("the token is %+v, %v", self, err)
	}
	if status, err := c.Sys().SealStatus(); err != nil || status.Version == "" || status.Sealed {
		t.Fatalf("the server is %+v, %v", status, err)
	}
	no := false
	child, err := c.Auth().Token().Create(&api.TokenCreateRequest{DisplayName: "terraform", TTL: "1200s", ExplicitMaxTTL: "1200s", Renewable: &no})
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken(s.confide(child.Auth.ClientToken))
	logical, path := c.Logical(), "secret/data/"+s.org
	want := map[string]string{"db_password": s.private("1")}
	// It sends settings that aren't given, with their zero values.
	if _, err := logical.Write(path, map[string]any{"data": want, "cas": 0, "options": map[string]any{}}); err != nil {
		t.Fatal(err)
	}
	got, err := logical.Read(path)
	if err != nil || !maps.Equal(plain(got.Data["data"].(map[string]any)), want) {
		t.Fatalf("the document is %+v, %v", got, err)
	}
	metadata, err := logical.Read("secret/metadata/" + s.org)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := time.ParseDuration(fmt.Sprint(metadata.Data["delete_version_after"])); err != nil {
		t.Error(err)
	}
	s.wantValues(want)
	if _, err := logical.Delete(path); err != nil {
		t.Fatal(err)
	}
	s.wantValues(map[string]string{})
}
