package vaultkv

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A mount of Vault is a part of the server that clients can look up. There are
// always the same ones.

// mountInfo describes a mount. Generated clients require all of these fields.
type mountInfo struct {
	Path             string            `json:"path,omitempty"`
	Type             string            `json:"type"`
	Description      string            `json:"description"`
	Accessor         string            `json:"accessor"`
	UUID             string            `json:"uuid"`
	Config           mountConfig       `json:"config"`
	Local            bool              `json:"local"`
	SealWrap         bool              `json:"seal_wrap"`
	ExternalEntropy  bool              `json:"external_entropy_access"`
	Options          map[string]string `json:"options"`
	PluginVersion    string            `json:"plugin_version"`
	RunningVersion   string            `json:"running_plugin_version"`
	RunningSHA256    string            `json:"running_sha256"`
	DeprecationState string            `json:"deprecation_status"`
}

type mountConfig struct {
	DefaultLeaseTTL int    `json:"default_lease_ttl"`
	MaxLeaseTTL     int    `json:"max_lease_ttl"`
	ForceNoCache    bool   `json:"force_no_cache"`
	TokenType       string `json:"token_type,omitempty"`
}

// tuning describes a mount's settings, with the defaults filled in.
type tuning struct {
	Description     string            `json:"description"`
	DefaultLeaseTTL int               `json:"default_lease_ttl"`
	MaxLeaseTTL     int               `json:"max_lease_ttl"`
	ForceNoCache    bool              `json:"force_no_cache"`
	TokenType       string            `json:"token_type,omitempty"`
	Options         map[string]string `json:"options,omitempty"`
}

// mountInfos are the mounts. Paths of those for authentication start with auth/.
func (c *call) mountInfos() []mountInfo {
	login := int(time.Hour / time.Second)
	list := []mountInfo{
		{Path: "secret/", Type: "kv", Description: "secrets of organizations", Accessor: "kv_secret", Options: map[string]string{"version": "2"}},
		{Path: "sys/", Type: "system", Description: "the server itself", Accessor: "system"},
		{Path: "auth/token/", Type: "token", Description: "tokens", Accessor: "auth_token", Config: mountConfig{TokenType: "default-service"}},
		{Path: "auth/approle/", Type: "approle", Description: "a token's ID and the token", Accessor: "auth_approle", Config: mountConfig{login, login, false, "default-service"}},
	}
	for i := range list {
		m := &list[i]
		m.UUID = formatUUID(c.keep.InstanceID("mount " + m.Path))
		m.DeprecationState = "supported"
		m.RunningVersion = "v" + c.config.Version + "+builtin.fluxkeep"
	}
	return list
}

// mountsAt returns the mounts below a path, by the rest of their paths.
func (c *call) mountsAt(prefix string, also func(mountInfo) bool) map[string]any {
	found := map[string]any{}
	for _, m := range c.mountInfos() {
		if path, ok := strings.CutPrefix(m.Path, prefix); ok && also(m) {
			m.Path = ""
			found[path] = m
		}
	}
	return found
}

func engines(m mountInfo) bool { return !strings.HasPrefix(m.Path, "auth/") && m.Path != "sys/" }

func anyMount(mountInfo) bool { return true }

func (c *call) mounts() error { return c.respondBoth(c.mountsAt("", engines), nil) }

func (c *call) authMounts() error { return c.respondBoth(c.mountsAt("auth/", anyMount), nil) }

// visibleMounts lists the mounts for user interfaces.
func (c *call) visibleMounts() error {
	return c.respondJSON(map[string]any{"secret": c.mountsAt("", engines), "auth": c.mountsAt("auth/", anyMount)})
}

// mountOf finds the mount that serves a path.
func (c *call) mountOf(path string) (mountInfo, bool) {
	for _, m := range c.mountInfos() {
		if strings.HasPrefix(path, m.Path) {
			return m, true
		}
	}
	return mountInfo{}, false
}

// mountPath returns the path of a mount that is asked about, as Vault writes it.
func (c *call) mountPath() string { return strings.Trim(c.r.PathValue("path"), "/") + "/" }

// readMountOf returns the mount of a path, which the command-line tools request
// first.
func (c *call) readMountOf() error {
	path := c.mountPath()
	m, ok := c.mountOf(path)
	if !ok {
		return &statusError{http.StatusForbidden,
			"preflight capability check returned 403, please ensure client's policies grant access to path " + strconv.Quote(path)}
	}
	m.Path = strings.TrimPrefix(m.Path, "auth/")
	return c.respondJSON(m)
}

// readMount returns the description or, below tune, the settings of a mount.
func (c *call) readMount() error { return c.readMountAt("", "No secret engine mount at ") }

// readAuthMount is readMount for a way to authenticate.
func (c *call) readAuthMount() error { return c.readMountAt("auth/", "No auth engine at ") }

func (c *call) readMountAt(prefix, missing string) error {
	path, tune := strings.CutSuffix(c.mountPath(), "/tune/")
	if tune {
		path += "/"
	}
	m, ok := c.mountOf(prefix + path)
	switch {
	case !ok && tune:
		return invalid("cannot fetch sysview for path " + strconv.Quote(prefix+path))
	case !ok || prefix != "" && m.Path != prefix+path:
		return invalid(missing + path)
	}
	if !tune {
		m.Path = ""
		return c.respondMount(m)
	}
	const month = int(32 * 24 * time.Hour / time.Second) // Vault's default
	t := tuning{m.Description, month, month, false, m.Config.TokenType, m.Options}
	if m.Config.MaxLeaseTTL > 0 {
		t.DefaultLeaseTTL, t.MaxLeaseTTL = m.Config.DefaultLeaseTTL, m.Config.MaxLeaseTTL
	}
	return c.respondMount(t)
}

// respondMount sends an object both in the envelope and at the top level.
func (c *call) respondMount(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var data map[string]any
	if err := json.Unmarshal(b, &data); err != nil {
		return err
	}
	return c.respondBoth(data, nil)
}
