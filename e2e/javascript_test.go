package e2e

import (
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
)

// TestJavaScriptClient runs InfluxDB's JavaScript client.
func TestJavaScriptClient(t *testing.T) {
	t.Parallel()
	interpreter, modules := node(t)
	s := start(t)
	cmd := command(t, s.home, interpreter, s.script("js", "influx.js"))
	cmd.Env = append(cmd.Env, "NODE_PATH="+modules)
	s.runScript(cmd, 9)
}

// TestNodeVault runs node-vault, a JavaScript client of Vault.
func TestNodeVault(t *testing.T) {
	t.Parallel()
	interpreter, modules := node(t)
	s := startSetUp(t)
	reader := s.newToken(client.Read)
	cmd := command(t, s.home, interpreter, s.script("js", "vault.js"))
	cmd.Env = append(cmd.Env, "NODE_PATH="+modules, "E2E_ORG="+s.orgID, "E2E_ORG_NAME="+s.org, "E2E_TOKEN="+s.token,
		"E2E_READER_ID="+reader.ID, "E2E_READER="+reader.Token)
	s.runScript(cmd, 8)
}
