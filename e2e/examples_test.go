package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/hashicorp/vault/api"
	"go.yaml.in/yaml/v3"
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

// externalObject has what the tests carry out of a SecretStore or an ExternalSecret.
type externalObject struct {
	Kind string
	Spec struct {
		Provider struct {
			Vault   struct{ Path, Version string }
			Webhook struct {
				URL     string
				Headers map[string]string
				Result  struct {
					JSONPath string `yaml:"jsonPath"`
				}
			}
		}
		Data []struct {
			RemoteRef struct{ Key, Property string } `yaml:"remoteRef"`
		}
		DataFrom []struct {
			Extract struct{ Key string }
			Find    struct{ Name struct{ Regexp string } }
		} `yaml:"dataFrom"`
	}
}

func (s *server) externalObjects(name string) (objects []externalObject) {
	s.t.Helper()
	b, err := os.ReadFile(examples + "kubernetes/external-secrets/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.NewReplacer("acme", s.org, "0123456789abcdef", s.orgID, "https://fluxkeep.secrets.svc:8086", s.url).Replace(string(b))
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o externalObject
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			s.t.Fatal(err)
		}
		objects = append(objects, o)
	}
}

// TestExternalSecretsVault sends the requests that External Secrets Operator's Vault
// provider sends for the objects of the example, and those for a PushSecret, with the
// same Go client.
func TestExternalSecretsVault(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	secrets := map[string]string{"db_password": s.private("1"), s.secretName("a.b"): s.private("2")}
	s.set(secrets)
	reader, writer := s.newToken(client.Read), s.newToken(client.Read, client.Write)
	c := s.vault(reader.Token)
	read := func(path string) map[string]any {
		t.Helper()
		r, err := c.Logical().ReadWithDataWithContext(t.Context(), path, nil)
		if err != nil || r == nil {
			t.Fatalf("%s: %+v, %v", path, r, err)
		}
		return r.Data
	}
	document := func(key string) map[string]string {
		t.Helper()
		data, ok := read("secret/data/" + key)["data"].(map[string]any)
		if !ok {
			t.Fatalf("%s has no data", key)
		}
		return plain(data)
	}
	kinds := map[string]int{}
	for _, o := range s.externalObjects("vault.yaml") {
		if o.Kind == "SecretStore" {
			kinds["store"]++
			if v := o.Spec.Provider.Vault; v.Path != "secret" || v.Version != "v2" {
				t.Errorf("the store is %+v", v)
			}
			s.checkExternalToken(c)
		}
		for _, d := range o.Spec.Data {
			kinds["data"]++
			if got, want := document(d.RemoteRef.Key)[d.RemoteRef.Property], secrets[d.RemoteRef.Property]; got != want || want == "" {
				t.Errorf("%+v is %q, want %q", d.RemoteRef, got, want)
			}
		}
		for _, from := range o.Spec.DataFrom {
			if from.Extract.Key != "" {
				kinds["extract"]++
				if got := document(from.Extract.Key); !maps.Equal(got, secrets) {
					t.Errorf("the document is %q", got)
				}
				continue
			}
			kinds["find"]++
			for _, token := range []string{reader.Token, s.token} {
				c.SetToken(token)
				list, err := c.Logical().ListWithContext(t.Context(), "secret/metadata/")
				if err != nil || fmt.Sprint(list.Data["keys"]) != "["+s.org+"]" || !regexp.MustCompile(from.Find.Name.Regexp).MatchString(s.org) {
					t.Fatalf("the list is %+v, %v", list, err)
				}
				// It reads the metadata too if it finds by tags, or on metadataPolicy: Fetch.
				if got := fmt.Sprint(read("secret/metadata/" + s.org)["current_version"]); got != "1" {
					t.Errorf("the metadata has version %s", got)
				}
				if got := document(s.org); !maps.Equal(got, secrets) {
					t.Errorf("the document is %q", got)
				}
			}
		}
	}
	if want := map[string]int{"store": 1, "data": 1, "extract": 1, "find": 1}; !maps.Equal(kinds, want) {
		t.Errorf("the example has %v, want %v", kinds, want)
	}

	c.SetToken(writer.Token)
	for _, w := range []struct {
		path string
		body map[string]any
	}{
		{"secret/metadata/" + s.org, map[string]any{"custom_metadata": map[string]string{"managed-by": "external-secrets"}}},
		{"secret/data/" + s.org, map[string]any{"data": map[string]any{"pushed": s.private("3")}, "options": map[string]any{"cas": 1}}},
	} {
		if _, err := c.Logical().WriteWithContext(t.Context(), w.path, w.body); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(read("secret/metadata/" + s.org)["custom_metadata"]); got != "map[managed-by:external-secrets]" {
		t.Errorf("the custom metadata is %s", got)
	}
	s.wantValues(map[string]string{"pushed": s.private("3")})
}

// checkExternalToken looks for what the operator needs of a token to believe that it is
// valid.
func (s *server) checkExternalToken(c *api.Client) {
	s.t.Helper()
	self, err := c.Auth().Token().LookupSelfWithContext(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	_, number := self.Data["ttl"].(json.Number)
	expires, given := self.Data["expire_time"]
	if self.Data["type"] != "service" || !number || !given || expires != nil {
		s.t.Errorf("the token is %+v", self.Data)
	}
}

// TestExternalSecretsWebhook sends the request that the operator's webhook provider makes
// of the templates in the example. In the URL, it escapes what it puts in.
func TestExternalSecretsWebhook(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	objects := s.externalObjects("webhook.yaml")
	if len(objects) != 2 || len(objects[1].Spec.Data) != 1 {
		t.Fatalf("the objects are %+v", objects)
	}
	hook := objects[0].Spec.Provider.Webhook
	key, odd := objects[1].Spec.Data[0].RemoteRef.Key, s.secretName("a b&c=+ü")
	s.set(map[string]string{key: s.private("1"), odd: s.private("2"), "other": s.private("3")})
	reader := s.newToken(client.Read)
	execute := func(text, key string) string {
		t.Helper()
		var b strings.Builder
		data := map[string]map[string]string{"remoteRef": {"key": key}, "reader": {"token": reader.Token}}
		if err := template.Must(template.New("").Parse(text)).Execute(&b, data); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for key, want := range map[string]map[string]string{key: {key: s.private("1")}, odd: {odd: s.private("2")}, "missing": {}} {
		q, err := http.NewRequestWithContext(t.Context(), "GET", execute(hook.URL, url.QueryEscape(key)), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range hook.Headers {
			q.Header.Set(name, execute(value, key))
		}
		status, body := answerOf(t, q)
		got := map[string]string{}
		if err := json.Unmarshal(body, &got); status != 200 || err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %d %s, want %q", key, status, body, want)
		}
		if path := execute(hook.Result.JSONPath, key); path != `$["`+key+`"]` {
			t.Errorf("the result is at %s", path)
		}
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
