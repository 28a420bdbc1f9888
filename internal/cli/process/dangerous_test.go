package process

import (
	"slices"
	"testing"
)

func TestDangerous(t *testing.T) {
	for _, c := range []struct {
		variable       string
		unix, foldCase bool
	}{
		{"LD_PRELOAD", true, true}, {"LD_", true, true}, {"DYLD_INSERT_LIBRARIES", true, true},
		{"BASH_ENV", true, true}, {"ENV", true, true}, {"PATH", true, true}, {"IFS", true, true},
		{"PYTHONPATH", true, true}, {"PYTHONSTARTUP", true, true}, {"NODE_OPTIONS", true, true},
		{"JAVA_TOOL_OPTIONS", true, true}, {"_JAVA_OPTIONS", true, true}, {"PERL5OPT", true, true},
		{"RUBYOPT", true, true}, {"GIT_SSH_COMMAND", true, true}, {"GCONV_PATH", true, true},
		{"npm_config_node_options", true, true},
		{"path", false, true}, {"Ld_Preload", false, true},
		{"PATHS", false, false}, {"MY_PATH", false, false}, {"LD", false, false}, {"ENVIRONMENT", false, false},
		{"DB_PASSWORD", false, false}, {"HTTPS_PROXY", false, false}, {"GITHUB_TOKEN", false, false}, {"", false, false},
	} {
		if got := isDangerous(c.variable, false); got != c.unix {
			t.Errorf("%q: %v, want %v", c.variable, got, c.unix)
		}
		if got := isDangerous(c.variable, true); got != c.foldCase {
			t.Errorf("%q without case: %v, want %v", c.variable, got, c.foldCase)
		}
	}
}

// The variable counts, not the secret's name.
func TestDangerousByVariable(t *testing.T) {
	secrets := map[string]string{"LD-PRELOAD": "1", "PATH": "2", "PRELOAD": "3", "db": "4"}
	for prefix, want := range map[string][]string{"": {"LD-PRELOAD", "PATH"}, "APP_": nil, "LD_": {"LD-PRELOAD", "PATH", "PRELOAD", "db"}} {
		if got := Dangerous(prefix, secrets); !slices.Equal(got, want) {
			t.Errorf("prefix %q: %q, want %q", prefix, got, want)
		}
	}
}
