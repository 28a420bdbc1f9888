package config

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// load returns the configuration for a command line, an environment and the
// text of a file; "" means no file.
func load(t testing.TB, args []string, env map[string]string, file string) (*Config, error) {
	t.Helper()
	c := New()
	if file != "" {
		path := filepath.Join(t.TempDir(), "fluxkeep.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	command := pflag.NewFlagSet("command", pflag.ContinueOnError)
	command.AddFlagSet(c.Flags())
	if err := command.Parse(args); err != nil {
		return nil, err
	}
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	return c, c.Load(environ)
}

// value returns a setting as its flag formats it.
func (c *Config) value(setting string) string { return c.flags.Lookup(setting).Value.String() }

// Every source can set every setting, with the right precedence.
func TestConfigPrecedence(t *testing.T) {
	// For each flag: a line of TOML, the value it means, a value for the
	// environment, and one for the command line.
	type values struct{ toml, file, env, flag string }
	tests := map[string]values{
		"http-bind-address":           {`"127.0.0.1:1"`, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
		"trusted-proxies":             {`["10.0.0.1", "fe80::/10"]`, "10.0.0.1/32,fe80::/10", "10.0.0.2/32", "10.0.0.3/32"},
		"tls-min-version":             {`"1.3"`, "1.3", "1.2", "1.3"},
		"data-dir":                    {`"/a"`, "/a", "/b", "/c"},
		"key-provider":                {`"key-file"`, "key-file", "key-file", "key-file"},
		"key-file":                    {`"/a"`, "/a", "/b", "/c"},
		"audit-log":                   {`"/a"`, "/a", "/b", "-"},
		"audit-names":                 {`"hashed"`, "hashed", "plain", "hashed"},
		"audit-max-size":              {`1048576`, "1MiB", "2MiB", "3MiB"},
		"session-length":              {`"1m"`, "1m0s", "2m0s", "3m0s"},
		"drop-guard":                  {`1`, "1", "2", "3"},
		"max-connections":             {`1`, "1", "2", "3"},
		"max-connections-per-address": {`1`, "1", "2", "3"},
		"max-request-memory":          {`"16MiB"`, "16MiB", "32MiB", "64MiB"},
		"health-address":              {`"127.0.0.1:1"`, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
		"rate-limit":                  {`0.5`, "0.5", "2", "3"},
		"read-header-timeout":         {`"1s"`, "1s", "2s", "3s"},
		"read-timeout":                {`"1s"`, "1s", "2s", "3s"},
		"write-timeout":               {`"1s"`, "1s", "2s", "3s"},
		"idle-timeout":                {`"1s"`, "1s", "2s", "3s"},
		"shutdown-timeout":            {`"1s"`, "1s", "2s", "3s"},
		"log-level":                   {`"debug"`, "debug", "warn", "error"},
		"log-format":                  {`"json"`, "json", "text", "json"},
		"trace-endpoint":              {`"http://a"`, "http://a", "http://b", "http://c"},
		"trace-sample-ratio":          {`0`, "0", "0.5", "1"},
		"web":                         {`"off"`, "off", "on", "off"},
		"web-origin":                  {`"https://a"`, "https://a", "https://b:1", "http://c"},
		"web-base":                    {`"/a"`, "/a", "/b/c", "/d"},
		"hsts":                        {`true`, "true", "false", "true"},
		"pprof-address":               {`"127.0.0.1:1"`, "127.0.0.1:1", "localhost:2", "[::1]:3"},
	}
	// These settings are only valid together.
	together := map[string]map[string]values{
		"TLS": {
			"tls-cert": {`"/a"`, "/a", "/b", "/c"},
			"tls-key":  {`"/a"`, "/a", "/b", "/c"},
		},
		"passphrase": {"passphrase-file": {`"/a"`, "/a", "/b", "/c"}},
		"transit": {
			"transit-address":    {`"http://a"`, "http://a", "http://b", "http://c"},
			"transit-token-file": {`"/a"`, "/a", "/b", "/c"},
			"transit-key":        {`"a"`, "a", "b", "c"},
			"transit-mount":      {`"a"`, "a", "b", "c"},
			"transit-namespace":  {`"a"`, "a", "b", "c"},
		},
		"AWS": {"aws-kms-key": {`"a"`, "a", "b", "c"}},
		"GCP": {"gcp-kms-key": {`"a"`, "a", "b", "c"}},
		"etcd": {
			"store":              {`"etcd"`, "etcd", "etcd", "etcd"},
			"etcd-endpoints":     {`["https://a:1", "https://b:1"]`, "https://a:1,https://b:1", "https://c:1", "https://d:1"},
			"etcd-prefix":        {`"/a/"`, "/a/", "/b/", "/c/"},
			"etcd-ca":            {`"/a"`, "/a", "/b", "/c"},
			"etcd-cert":          {`"/a"`, "/a", "/b", "/c"},
			"etcd-key":           {`"/a"`, "/a", "/b", "/c"},
			"etcd-username":      {`"a"`, "a", "b", "c"},
			"etcd-password-file": {`"/a"`, "/a", "/b", "/c"},
			"etcd-compact":       {`"off"`, "off", "on", "off"},
		},
	}
	for name, v := range tests {
		together[name] = map[string]values{name: v}
	}

	tested := map[string]bool{"config": true}
	for name, group := range together {
		t.Run(name, func(t *testing.T) {
			var args []string
			var file strings.Builder
			env := map[string]string{}
			for setting, v := range group {
				tested[setting] = true
				args = append(args, "--"+setting+"="+v.flag)
				env[EnvName(setting)] = v.env
				file.WriteString(setting + " = " + v.toml + "\n")
			}
			for _, source := range []struct {
				name string
				args []string
				env  map[string]string
				want func(values) string
			}{
				{"file", nil, nil, func(v values) string { return v.file }},
				{"environment over file", nil, env, func(v values) string { return v.env }},
				{"command line over all", args, env, func(v values) string { return v.flag }},
			} {
				c, err := load(t, source.args, source.env, file.String())
				if err != nil {
					t.Fatalf("%s: %v", source.name, err)
				}
				for setting, v := range group {
					if got := c.value(setting); got != source.want(v) {
						t.Errorf("%s: %s is %q, want %q", source.name, setting, got, source.want(v))
					}
				}
			}
		})
	}
	New().Flags().VisitAll(func(f *pflag.Flag) {
		if !tested[f.Name] {
			t.Errorf("--%s has no precedence test", f.Name)
		}
	})
}

func TestConfigDefaults(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	c, err := load(t, nil, map[string]string{"FLUXKEEP_HTTP_BIND_ADDRESS": ""}, "")
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"http-bind-address": "127.0.0.1:8086",
		"data-dir":          "/home/ann/.fluxkeep",
		"audit-log":         "/home/ann/.fluxkeep/audit.log",
		"key-provider":      "key-file",
		"audit-names":       "plain",
		"audit-max-size":    "128MiB",
		"log-level":         "info",
	} {
		if got := c.value(setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	t.Setenv("HOME", "")
	if _, err := load(t, nil, nil, ""); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("without a home folder: %v, want an error that names --data-dir", err)
	}
}

func TestConfigKeyProvider(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "key-file"},
		{"--key-file=a", "key-file"},
		{"--passphrase-file=a", "passphrase"},
		{"--key-provider=passphrase --passphrase-file=a", "passphrase"},
		{"--transit-address=a --transit-token-file=b --transit-key=c", "transit"},
		{"--aws-kms-key=a", "aws-kms"},
		{"--gcp-kms-key=a", "gcp-kms"},
	} {
		c, err := load(t, strings.Fields(tt.args), nil, "")
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		} else if c.Key.Provider != tt.want {
			t.Errorf("%q: kind %s, want %s", tt.args, c.Key.Provider, tt.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		name string
		args string
		env  map[string]string
		file string
		want string // the error, from its beginning
	}{
		{name: "unknown key", file: "log-level = \"info\"\n\n# a comment\nlog-levle = \"debug\"\n", want: `fluxkeep.toml:4: there is no setting "log-levle"`},
		{name: "key in Go's spelling", file: `LogLevel = "debug"`, want: `fluxkeep.toml:1: there is no setting "LogLevel"`},
		{name: "table", file: "[log]\nlevel = \"debug\"\n", want: `fluxkeep.toml:1: there is no setting "log"`},
		{name: "dotted key", file: "log.level = \"debug\"\n", want: `fluxkeep.toml:1: there is no setting "log"`},
		{name: "setting as table", file: "[log-level]\nx = 1\n", want: "fluxkeep.toml:1: log-level must be a string"},
		{name: "config in the file", file: `config = "/a"`, want: `fluxkeep.toml:1: there is no setting "config"`},
		{name: "not TOML", file: "log-level = \"info\"\nlog-format\n", want: "fluxkeep.toml:2: "},
		{name: "twice", file: "log-level = \"info\"\nlog-level = \"debug\"\n", want: "fluxkeep.toml:2: "},
		{name: "wrong type in the file", file: "\nread-timeout = 5\n", want: "fluxkeep.toml:2: read-timeout must be a duration"},
		{name: "date in the file", file: "log-level = 2026-01-01\n", want: "fluxkeep.toml:1: log-level must be a string"},
		{name: "list of numbers", file: "trusted-proxies = [1]\n", want: "fluxkeep.toml:1: trusted-proxies must be a list of strings"},
		{name: "wrong in the file, overridden by a flag", args: "--max-connections=1", file: "max-connections = \"many\"\n", want: "fluxkeep.toml:1: max-connections must be a whole number"},
		{name: "out of range in the file", file: "\n\nmax-connections = 0\n", want: "fluxkeep.toml:3: max-connections must be at least 1"},
		{name: "wrong in the environment", env: map[string]string{"FLUXKEEP_LOG_LEVEL": "loud"}, want: "FLUXKEEP_LOG_LEVEL must be debug, info, warn or error"},
		{name: "out of range in the environment", env: map[string]string{"FLUXKEEP_IDLE_TIMEOUT": "-1s"}, want: "FLUXKEEP_IDLE_TIMEOUT must be more than 0"},
		{name: "missing file", env: map[string]string{"FLUXKEEP_CONFIG": "/nonexistent/fluxkeep.toml"}, want: "read the configuration: open /nonexistent/fluxkeep.toml"},
		{name: "out of range", args: "--read-timeout=0s", want: "--read-timeout must be more than 0"},
		{name: "negative rate", args: "--rate-limit=-1", want: "--rate-limit must be"},
		{name: "rate that isn't a number", args: "--rate-limit=NaN", want: "--rate-limit must be"},
		{name: "ratio", args: "--trace-sample-ratio=1.1", want: "--trace-sample-ratio must be a number from 0 to 1"},
		{name: "drop guard", args: "--drop-guard=-1", want: "--drop-guard must not be negative"},
		{name: "audit size", args: "--audit-max-size=1", want: "--audit-max-size must be at least 64KiB"},
		{name: "origin with a path", args: "--web-origin=https://a/", want: "--web-origin must be a scheme and a host"},
		{name: "origin without a scheme", args: "--web-origin=a.example.com", want: "--web-origin must be a scheme and a host"},
		{name: "base with a slash at the end", args: "--web-base=/a/", want: "--web-base must be a path"},
		{name: "base with markup", args: `--web-base=/"`, want: "--web-base must be a path"},
		{name: "address", args: "--http-bind-address=8086", want: "--http-bind-address must be HOST:PORT"},
		{name: "certificate alone", args: "--tls-cert=a", want: "--tls-key is required with --tls-cert"},
		{name: "key alone", args: "--tls-key=a", want: "--tls-cert is required with --tls-key"},
		{name: "profiles on all addresses", args: "--pprof-address=:6060", want: "--pprof-address must be a loopback address"},
		{name: "profiles on the network", args: "--pprof-address=192.0.2.1:6060", want: "--pprof-address must be a loopback address"},
		{name: "collector", args: "--trace-endpoint=127.0.0.1:4318", want: "--trace-endpoint must be a URL"},
		{name: "collector's password", args: "--trace-endpoint=http://u:p@127.0.0.1:4318", want: "--trace-endpoint must not contain a user"},
		{name: "two keys", args: "--key-file=a --passphrase-file=b", want: "--passphrase-file is for a key-encryption key of kind passphrase, but another setting selects key-file"},
		{name: "two keys, explicit kind", args: "--key-provider=aws-kms --key-file=a", want: "--key-file is for a key-encryption key of kind key-file, but another setting selects aws-kms"},
		{name: "kind without its key", args: "--key-provider=passphrase", want: "--passphrase-file is required"},
		{name: "half a transit", args: "--transit-mount=a", want: "--transit-address is required"},
		{name: "etcd without endpoints", args: "--store=etcd", want: "--etcd-endpoints is required with --store etcd"},
		{name: "endpoints without etcd", args: "--etcd-endpoints=http://a:1", want: "--etcd-endpoints is only for --store etcd"},
		{name: "endpoint without a scheme", args: "--store=etcd --etcd-endpoints=a:1", want: `invalid argument "a:1" for "--etcd-endpoints" flag: must be URLs`},
		{name: "endpoint with a password", args: "--store=etcd --etcd-endpoints=http://u:p@a:1", want: "--etcd-endpoints must not contain a user or a password"},
		{name: "endpoint with a password and a path", args: "--store=etcd --etcd-endpoints=http://u:p@a:1/x", want: "--etcd-endpoints must not contain a user or a password"},
		{name: "endpoint with a password that divides it", args: "--store=etcd --etcd-endpoints=http://u:p,q@a:1", want: "--etcd-endpoints must not contain a user or a password"},
		{name: "endpoints with and without TLS", args: "--store=etcd --etcd-endpoints=https://a:1,http://b:1", want: "--etcd-endpoints must be all https or all http"},
		{name: "authority without TLS", args: "--store=etcd --etcd-endpoints=http://a:1 --etcd-ca=x", want: "--etcd-ca is only for endpoints that start with https://"},
		{name: "half a client certificate", args: "--store=etcd --etcd-endpoints=https://a:1 --etcd-cert=x", want: "--etcd-key is required with --etcd-cert"},
		{name: "etcd user without password", args: "--store=etcd --etcd-endpoints=https://a:1 --etcd-username=x", want: "--etcd-password-file is required with --etcd-username"},
		{name: "no prefix", args: "--store=etcd --etcd-endpoints=https://a:1 --etcd-prefix=/", want: "--etcd-prefix must not be empty"},
		{name: "unknown kind", args: "--key-provider=pkcs11", want: "--key-provider must be key-file,"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, strings.Fields(tt.args), tt.env, tt.file)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %q, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has more than one line", err)
			}
		})
	}
}

// pflag's error for an invalid value reaches the user unchanged.
func TestConfigFlagErrors(t *testing.T) {
	for _, arg := range []string{
		"--audit-max-size=1XB", "--audit-max-size=-1", "--audit-max-size=9999999999GiB", "--audit-max-size=",
		"--tls-min-version=1.1", "--trusted-proxies=10.0.0.0/33", "--log-level=", "--audit-names=none",
	} {
		if _, err := load(t, []string{arg}, nil, ""); err == nil || !strings.Contains(err.Error(), "must be") {
			t.Errorf("%s: error %v, want one that states the valid values", arg, err)
		}
	}
}

func TestConfigReload(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	path := filepath.Join(t.TempDir(), "fluxkeep.toml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log-level = \"info\"\nidle-timeout = \"1m\"\n")
	c := New()
	if err := c.Flags().Parse([]string{"--config", path, "--write-timeout", "3s"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(nil); err != nil {
		t.Fatal(err)
	}
	check := func(level string, wantRestart ...string) {
		t.Helper()
		restart, err := c.Reload()
		if err != nil {
			t.Fatal(err)
		}
		if got := c.value("log-level"); got != level {
			t.Errorf("log-level is %s, want %s", got, level)
		}
		if !slices.Equal(restart, wantRestart) {
			t.Errorf("restart for %q, want %q", restart, wantRestart)
		}
	}
	check("info")
	write("log-level = \"debug\"\nidle-timeout = \"1m\"\nwrite-timeout = \"9s\"\n")
	check("debug")
	write("log-level = \"warn\"\nidle-timeout = \"2m\"\nmax-connections = 7\n")
	check("warn", "max-connections", "idle-timeout")
	if got := c.value("idle-timeout"); got != "1m0s" {
		t.Errorf("idle-timeout changed to %s without a restart", got)
	}
	write("")
	check("info", "idle-timeout")

	for _, broken := range []string{"log-level = \"loud\"\n", "log-level\n", "nonsense = 1\n"} {
		write(broken)
		if _, err := c.Reload(); err == nil {
			t.Errorf("no error for %q", broken)
		}
		if got := c.value("log-level"); got != "info" {
			t.Errorf("a broken file made log-level %s", got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(); err == nil {
		t.Error("no error for a missing file")
	}
}

// Settings lists every setting and no password.
func TestConfigSettings(t *testing.T) {
	c, err := load(t, []string{"--transit-address=https://user:hunter2@vault:8200", "--transit-token-file=/t", "--transit-key=k"}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	all := c.Settings()
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := all[f.Name]; !ok {
			t.Errorf("%s is missing", f.Name)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if s, ok := all[name].(string); ok && strings.Contains(s, "hunter2") {
			t.Errorf("%s shows a password: %q", name, s)
		}
	}
	if got := all["transit-address"]; got != "https://vault:8200" {
		t.Errorf("transit-address is %q", got)
	}
}

func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{
		"", "log-level = \"debug\"", "max-connections = 1\nrate-limit = 0.5\n", "trusted-proxies = [\"10.0.0.0/8\"]",
		"[a]\nb = 1", "[[a]]\nb = 1\n[[a]]\n", "a.b.c = 1", "\"log-level\" = 'info'", "x = {y = 1}", "log-level = 1979-05-27T07:32:00Z",
		"a = [[1], [2]]", "log-level", "= 1", "\xff", "# only a comment\n", "log-level = \"\"\"\ninfo\"\"\"\n", "audit-max-size = 9223372036854775807",
		"'' = 1", "[]", "[\"\"]\nx=1", "a = inf", "a = nan",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 512 {
			return // see maxConfigFile
		}
		entries, err := parseConfigFile("fluxkeep.toml", text)
		if err != nil {
			if len(entries) > 0 {
				t.Errorf("settings returned along with error %v", err)
			}
			return
		}
		lines := 1 + strings.Count(text, "\n")
		for _, e := range entries {
			if e.line < 1 || e.line > lines {
				t.Errorf("setting %q is on line %d of %d", e.key, e.line, lines)
			}
		}
		c := New()
		err = c.apply(entries)
		var wrong *Error
		if err == nil {
			// Settings from the file can be given as flags, with the same
			// result.
			again := New()
			for _, e := range entries {
				if err := again.Flags().Set(e.key, c.value(e.key)); err != nil {
					t.Errorf("%s can be %q in the file but not on the command line: %v", e.key, c.value(e.key), err)
				}
				if c.value(e.key) != again.value(e.key) {
					t.Errorf("%s is %q from the file and %q from the command line", e.key, c.value(e.key), again.value(e.key))
				}
			}
		} else if errors.As(err, &wrong) && c.Flags().Lookup(wrong.Setting) == nil {
			t.Errorf("the error names a setting that does not exist: %v", err)
		}
	})
}
