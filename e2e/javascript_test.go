package e2e

import "testing"

// TestJavaScriptClient runs InfluxDB's JavaScript client.
func TestJavaScriptClient(t *testing.T) {
	t.Parallel()
	interpreter, modules := node(t)
	s := start(t)
	cmd := command(t, s.home, interpreter, s.script("js", "influx.js"))
	cmd.Env = append(cmd.Env, "NODE_PATH="+modules)
	s.runScript(cmd, 9)
}
