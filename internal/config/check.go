package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// check validates what the type of a single setting can't.
func (c *Config) check() error {
	for _, check := range []func() error{
		c.checkAddresses, c.checkTLS, c.checkWeb, c.checkLimits, c.checkTracing, c.checkKey, c.checkStore,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// wrong returns an Error about setting that names the source of its value.
func (c *Config) wrong(setting, format string, args ...any) error {
	return &Error{setting, fmt.Sprintf(format, args...), c.sources[setting]}
}

func (c *Config) checkAddresses() error {
	if _, _, err := net.SplitHostPort(c.BindAddress); err != nil {
		return c.wrong("http-bind-address", "must be HOST:PORT, such as 127.0.0.1:8086")
	}
	if c.HealthAddress != "" {
		if _, _, err := net.SplitHostPort(c.HealthAddress); err != nil {
			return c.wrong("health-address", "must be HOST:PORT, such as 127.0.0.1:8087")
		}
	}
	if c.PprofAddress == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.PprofAddress)
	if err != nil {
		return c.wrong("pprof-address", "must be HOST:PORT, such as 127.0.0.1:6060")
	}
	if !Loopback(host) {
		return c.wrong("pprof-address", "must be a loopback address such as 127.0.0.1:6060: profiles can reveal memory contents")
	}
	return nil
}

// Loopback reports whether a listener on host is reachable only from this
// machine.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func (c *Config) checkTLS() error { return c.checkPair("tls-cert", "tls-key") }

// checkPair makes sure that of two settings both are given, or none.
func (c *Config) checkPair(a, b string) error {
	switch {
	case c.given(a) && !c.given(b):
		return c.wrong(b, "is required with --%s", a)
	case c.given(b) && !c.given(a):
		return c.wrong(a, "is required with --%s", b)
	}
	return nil
}

func (c *Config) checkWeb() error {
	if c.WebOrigin != "" {
		u, err := url.Parse(c.WebOrigin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || c.WebOrigin != u.Scheme+"://"+u.Host {
			return c.wrong("web-origin", "must be a scheme and a host such as https://secrets.example.com, without a path")
		}
	}
	if c.WebBase != "" && !webBase.MatchString(c.WebBase) {
		return c.wrong("web-base", "must be a path such as /fluxkeep, without a slash at the end")
	}
	return nil
}

var webBase = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+$`)

func (c *Config) checkLimits() error {
	for _, d := range []struct {
		setting string
		value   time.Duration
	}{
		{"session-length", c.SessionLength},
		{"read-header-timeout", c.ReadHeaderTimeout},
		{"read-timeout", c.ReadTimeout},
		{"write-timeout", c.WriteTimeout},
		{"idle-timeout", c.IdleTimeout},
		{"shutdown-timeout", c.ShutdownTimeout},
	} {
		if d.value <= 0 {
			return c.wrong(d.setting, "must be more than 0")
		}
	}
	switch {
	case c.MaxConnections < 1:
		return c.wrong("max-connections", "must be at least 1")
	case c.MaxConnectionsPerAddress < 0:
		return c.wrong("max-connections-per-address", "must be at least 1, or 0 for a quarter of max-connections")
	case c.MaxRequestMemory < 16<<20:
		return c.wrong("max-request-memory", "must be at least 16MiB")
	case !(c.RateLimit >= 0 && c.RateLimit <= 1e9): // written so that NaN fails too
		return c.wrong("rate-limit", "must be a number of requests a second, 0 for no limit")
	case c.DropGuard < 0:
		return c.wrong("drop-guard", "must not be negative")
	case c.AuditMaxSize != 0 && c.AuditMaxSize < 1<<16:
		return c.wrong("audit-max-size", "must be at least 64KiB, or 0 for no limit")
	}
	return nil
}

func (c *Config) checkTracing() error {
	if !(c.TraceSampleRatio >= 0 && c.TraceSampleRatio <= 1) {
		return c.wrong("trace-sample-ratio", "must be a number from 0 to 1")
	}
	if c.TraceEndpoint == "" {
		return nil
	}
	u, err := url.Parse(c.TraceEndpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return c.wrong("trace-endpoint", "must be a URL such as http://127.0.0.1:4318")
	}
	if u.User != nil {
		return c.wrong("trace-endpoint", "must not contain a user or a password")
	}
	return nil
}

type keyKind struct {
	kind  string
	needs []string
	takes []string
}

// keySettings lists the settings of each kind of key-encryption key.
var keySettings = []keyKind{
	{seal.KindKeyFile, nil, []string{"key-file"}},
	{seal.KindPassphrase, []string{"passphrase-file"}, nil},
	{seal.KindTransit, []string{"transit-address", "transit-token-file", "transit-key"}, []string{"transit-mount", "transit-namespace"}},
	{seal.KindAWSKMS, []string{"aws-kms-key"}, nil},
	{seal.KindGCPKMS, []string{"gcp-kms-key"}, nil},
}

// checkKey determines the kind of key-encryption key and checks that all its
// required settings, and no settings of another kind, are given.
func (c *Config) checkKey() error {
	kind := c.Key.Provider
	for _, k := range keySettings {
		for _, setting := range slices.Concat(k.needs, k.takes) {
			switch {
			case !c.given(setting):
			case kind == "":
				kind = k.kind
			case kind != k.kind:
				return c.wrong(setting, "is for a key-encryption key of kind %s, but another setting selects %s: choose one", k.kind, kind)
			}
		}
	}
	if kind == "" {
		kind = seal.KindKeyFile
	}
	known := slices.IndexFunc(keySettings, func(k keyKind) bool { return k.kind == kind })
	if known < 0 {
		return c.wrong("key-provider", "must be key-file, passphrase, transit, aws-kms or gcp-kms")
	}
	for _, setting := range keySettings[known].needs {
		if !c.given(setting) {
			return c.wrong(setting, "is required for a key-encryption key of kind %s", kind)
		}
	}
	c.Key.Provider = kind
	return nil
}

// given reports whether a string setting is not empty.
func (c *Config) given(setting string) bool { return c.flags.Lookup(setting).Value.String() != "" }
