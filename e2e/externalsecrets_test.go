package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
)

// externalSecrets returns the program of the module eso.
func externalSecrets(t testing.TB) string {
	t.Helper()
	dir := installed(t, "eso-"+keyOf(t, "", "eso/go.mod", "eso/go.sum", "eso/main.go"), func(dir string) error {
		return installer("eso", "env", "CGO_ENABLED=0", "GOWORK=off", "go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "eso"), ".")
	})
	return filepath.Join(dir, "eso")
}

// TestExternalSecrets applies the manifests of examples/kubernetes with the providers
// of the External Secrets Operator, and with a login by AppRole and by token.
func TestExternalSecrets(t *testing.T) {
	t.Parallel()
	nightly(t, "the External Secrets Operator")
	program := externalSecrets(t)
	s := startSetUp(t)
	name, value := s.secretName("db_password"), s.private("1")
	other, otherValue := s.secretName("other"), s.private("2")
	s.set(map[string]string{name: value, other: otherValue})
	reader := s.newToken(client.Read)
	// The operator's client asks for a cluster to get service accounts from, and doesn't
	// connect to it.
	kubeconfig := filepath.Join(s.home, "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("{apiVersion: v1, kind: Config, clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}], "+
		"contexts: [{name: none, context: {cluster: none}}], current-context: none}"), 0o600); err != nil {
		t.Fatal(err)
	}
	const appRole = "appRole:\n          path: approle\n          roleId: TOKEN_ID\n          secretRef: "
	for _, c := range []struct {
		name, manifests, old, new string
		want                      map[string]string
	}{
		{"AppRole", "external-secrets-vault.yaml", "", "", map[string]string{name: value, other: otherValue, "PASSWORD": value}},
		{"token", "external-secrets-vault.yaml", appRole, "tokenSecretRef: ", map[string]string{name: value, other: otherValue, "PASSWORD": value}},
		{"webhook", "external-secrets-webhook.yaml", "", "", map[string]string{"PASSWORD": value}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := os.ReadFile("../examples/kubernetes/" + c.manifests)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), c.old) {
				t.Fatalf("%s doesn't have %q", c.manifests, c.old)
			}
			manifests := strings.NewReplacer("https://fluxkeep.secrets.svc:8086", s.url, "TOKEN_ID", reader.ID,
				"{key: ORG", "{key: "+s.orgID, "db_password", name).Replace(strings.Replace(string(text), c.old, c.new, 1))
			manifests += fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: fluxkeep-reader, labels: {external-secrets.io/type: webhook}}\ndata: {token: %q}\n",
				base64.StdEncoding.EncodeToString([]byte(reader.Token)))
			cmd := command(t, s.home, program)
			cmd.Env = append(cmd.Env, "KUBECONFIG="+kubeconfig)
			cmd.Stdin = strings.NewReader(manifests)
			var made map[string]map[string]string
			if err := json.Unmarshal([]byte(output(t, cmd)), &made); err != nil {
				t.Fatal(err)
			}
			if len(made) != 1 || !maps.Equal(made["telegraf"], c.want) {
				t.Errorf("the Secrets are %q, want %q", made, c.want)
			}
		})
	}
}
