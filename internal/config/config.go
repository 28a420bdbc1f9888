// Package config holds the server's settings, which come from flags,
// environment variables and a file. Commands that work on a stopped server's
// data folder use the same settings.
package config

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
)

// Config holds the settings of a server. New sets the defaults, and Load
// applies the environment and the configuration file. It contains no secrets:
// keys, passphrases and tokens are given by the names of their files.
type Config struct {
	// Version and Commit identify the program.
	Version, Commit string

	File string // the configuration file, "" for none

	BindAddress    string
	HealthAddress  string         // "" for none
	TrustedProxies []netip.Prefix // proxies whose X-Forwarded-For is trusted
	TLSCert        string
	TLSKey         string
	TLSMinVersion  string

	DataDir string
	Key     Key

	Store string
	Etcd  Etcd

	AuditLog     string // "" for audit.log in the data folder, "-" for standard output
	AuditNames   string
	AuditMaxSize int64 // 0 for no rotation by size

	SessionLength time.Duration
	DropGuard     int

	Web       string // WebOn or WebOff
	WebOrigin string // a further origin of the web page, "" for none
	WebBase   string // the prefix that a reverse proxy removes from the page's paths, "" for none
	HSTS      bool

	MaxConnections int
	// MaxConnectionsPerAddress defaults, when 0, to a quarter of
	// MaxConnections.
	MaxConnectionsPerAddress int
	MaxRequestMemory         int64   // bytes for the bodies and responses of all requests
	RateLimit                float64 // requests per second from one address, 0 for no limit
	ReadHeaderTimeout        time.Duration
	ReadTimeout              time.Duration
	WriteTimeout             time.Duration
	IdleTimeout              time.Duration
	ShutdownTimeout          time.Duration

	LogLevel  slog.Level
	LogFormat string

	TraceEndpoint    string
	TraceSampleRatio float64
	PprofAddress     string

	PasswordCost int // bcrypt cost, 0 for the default; set by tests only

	// UnknownVars lists environment variables that have the prefix of settings
	// but match none.
	UnknownVars []string

	flags   *pflag.FlagSet
	sources map[string]source // by flag name, for values not set on the command line
}

// Key selects the key-encryption key.
type Key struct {
	Provider       string // "" to infer it from the other fields
	File           string // "" for the file key in the data folder
	PassphraseFile string

	TransitAddress   string
	TransitTokenFile string
	TransitKey       string
	TransitMount     string
	TransitNamespace string

	AWSKMSKey string
	GCPKMSKey string
}

// Values of the settings that accept a fixed set.
const (
	NamesPlain  = "plain"
	NamesHashed = "hashed"
	FormatText  = "text"
	FormatJSON  = "json"
	TLS12       = "1.2"
	TLS13       = "1.3"
	WebOn       = "on"
	WebOff      = "off"
)

// New returns a Config with default settings.
func New() *Config {
	c := &Config{sources: map[string]source{}}
	c.flags = pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.flags.SortFlags = false
	c.addFlags(c.flags)
	return c
}

// Flags returns a flag for each setting, for a command to add to its own.
func (c *Config) Flags() *pflag.FlagSet { return c.flags }

func (c *Config) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.File, "config", "", "read settings from a TOML `file`: one key for each flag, such as log-level = \"debug\"")

	fs.StringVar(&c.BindAddress, "http-bind-address", "127.0.0.1:8086", "serve HTTP on this `address`")
	fs.StringVar(&c.HealthAddress, "health-address", "", "serve health, readiness and metrics on this `address` too, separate from other connections")
	fs.Var((*prefixes)(&c.TrustedProxies), "trusted-proxies", "`networks` of reverse proxies whose X-Forwarded-For header is trusted, such as 10.0.0.0/8")
	fs.StringVar(&c.TLSCert, "tls-cert", "", "`file` with the TLS certificate and its chain, in PEM; it is read again when it changes")
	fs.StringVar(&c.TLSKey, "tls-key", "", "`file` with the certificate's key, in PEM")
	fs.Var(newChoice(&c.TLSMinVersion, TLS12, TLS12, TLS13), "tls-min-version", "minimum TLS `version`: 1.2 or 1.3")

	fs.StringVar(&c.DataDir, "data-dir", "", "`folder` for all data (default $HOME/.fluxkeep)")
	fs.StringVar(&c.Key.Provider, "key-provider", "", "`kind` of key-encryption key: key-file, passphrase, transit, aws-kms or gcp-kms (default key-file, unless other flags select another)")
	fs.StringVar(&c.Key.File, "key-file", "", "`file` with the key-encryption key, created on the first start; keep it off the data disk (default DATA-DIR/key)")
	fs.StringVar(&c.Key.PassphraseFile, "passphrase-file", "", "`file` with a passphrase to derive the key-encryption key from")
	fs.StringVar(&c.Key.TransitAddress, "transit-address", "", "`URL` of the Vault or OpenBao server whose transit engine holds the key-encryption key")
	fs.StringVar(&c.Key.TransitTokenFile, "transit-token-file", "", "`file` with the token for it; it is read on each use")
	fs.StringVar(&c.Key.TransitKey, "transit-key", "", "`name` of the key in the transit engine")
	fs.StringVar(&c.Key.TransitMount, "transit-mount", "", "`path` of the transit engine (default transit)")
	fs.StringVar(&c.Key.TransitNamespace, "transit-namespace", "", "`namespace` of the transit engine")
	fs.StringVar(&c.Key.AWSKMSKey, "aws-kms-key", "", "`ARN` of the key-encryption key in AWS KMS")
	fs.StringVar(&c.Key.GCPKMSKey, "gcp-kms-key", "", "resource `name` of the key-encryption key in Google Cloud KMS")

	c.addStoreFlags(fs)

	fs.StringVar(&c.AuditLog, "audit-log", "", "`file` for the audit log, \"-\" for standard output (default DATA-DIR/audit.log)")
	fs.Var(newChoice(&c.AuditNames, NamesPlain, NamesPlain, NamesHashed), "audit-names", "`how` the audit log names secrets: plain or hashed")
	fs.Var(newSize(&c.AuditMaxSize, 128<<20), "audit-max-size", "`size` at which the audit log starts a new file, such as 64MiB; 0 for never")

	fs.DurationVar(&c.SessionLength, "session-length", time.Hour, "`time` until a session expires")
	fs.IntVar(&c.DropGuard, "drop-guard", 0, "`number` of names that one write to the influxd address may remove before the previous version is pinned (default one, or half of all)")

	fs.Var(newChoice(&c.Web, WebOn, WebOn, WebOff), "web", "serve the web page: `on` or off")
	fs.StringVar(&c.WebOrigin, "web-origin", "", "`origin` of the web page behind a proxy, such as https://secrets.example.com")
	fs.StringVar(&c.WebBase, "web-base", "", "`path` under which a proxy serves Fluxkeep, such as /fluxkeep, for the links of the web page")
	fs.BoolVar(&c.HSTS, "hsts", false, "send Strict-Transport-Security over TLS, which makes browsers refuse plain HTTP on every port of the host for a year")

	fs.IntVar(&c.MaxConnections, "max-connections", 4096, "maximum `number` of connections; at the limit, an unauthenticated or idle one is closed for each new one")
	fs.IntVar(&c.MaxConnectionsPerAddress, "max-connections-per-address", 0, "maximum `number` of connections from one address, except trusted proxies (default a quarter of max-connections)")
	fs.Var(newSize(&c.MaxRequestMemory, 512<<20), "max-request-memory", "`size` of memory for the bodies and responses of all requests, such as 512MiB; one token may use half of it")
	fs.Float64Var(&c.RateLimit, "rate-limit", 0, "`requests` per second from one address, 0 for no limit")
	fs.DurationVar(&c.ReadHeaderTimeout, "read-header-timeout", 10*time.Second, "`time` to receive a request's header or complete the TLS handshake")
	fs.DurationVar(&c.ReadTimeout, "read-timeout", time.Minute, "`time` to receive a request")
	fs.DurationVar(&c.WriteTimeout, "write-timeout", time.Minute, "`time` to send a response")
	fs.DurationVar(&c.IdleTimeout, "idle-timeout", 2*time.Minute, "`time` that an idle connection stays open")
	fs.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", 20*time.Second, "`time` for requests in flight to finish when the server stops")

	fs.Var(newLevel(&c.LogLevel, slog.LevelInfo), "log-level", "minimum log `level`: debug, info, warn or error")
	fs.Var(newChoice(&c.LogFormat, FormatText, FormatText, FormatJSON), "log-format", "`format` of the log: text or json")

	fs.StringVar(&c.TraceEndpoint, "trace-endpoint", "", "`URL` of an OTLP/HTTP collector to send traces to, such as http://127.0.0.1:4318")
	fs.Float64Var(&c.TraceSampleRatio, "trace-sample-ratio", 1, "`share` of traces to send, from 0 to 1; a client's decision takes precedence")
	fs.StringVar(&c.PprofAddress, "pprof-address", "", "serve Go profiles on this loopback `address`")
}

// complete fills in defaults that depend on other settings.
func (c *Config) complete() error {
	if c.DataDir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return c.wrong("data-dir", "is required: there is no home folder to hold the data")
		}
		c.DataDir = filepath.Join(home, ".fluxkeep")
	}
	if c.AuditLog == "" {
		c.AuditLog = filepath.Join(c.DataDir, "audit.log")
	}
	return nil
}
