package vaultkv

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// health reports to anyone whether the server works. As in Vault, the query
// may choose the status of each outcome, which load balancers use.
func (c *call) health() error {
	query := c.r.URL.Query()
	active, err := statusIn(query, "activecode", http.StatusOK)
	if err != nil {
		return err
	}
	fresh, err := statusIn(query, "uninitcode", http.StatusNotImplemented)
	if err != nil {
		return err
	}
	// The others are for states that this server never has.
	for _, name := range []string{"standbycode", "sealedcode"} {
		if _, err := statusIn(query, name, 0); err != nil {
			return err
		}
	}
	if text := query.Get("standbyok"); text != "" {
		if _, err := strconv.ParseBool(text); err != nil {
			return errParameter
		}
	}
	if err := c.keep.Writable(); err != nil {
		return err
	}
	initialized, err := c.initialized()
	if err != nil {
		return err
	}
	status := active
	if !initialized {
		status = fresh
	}
	return c.sendJSON(status, struct {
		Initialized        bool   `json:"initialized"`
		Sealed             bool   `json:"sealed"`
		Standby            bool   `json:"standby"`
		PerformanceStandby bool   `json:"performance_standby"`
		PerformanceMode    string `json:"replication_performance_mode"`
		DRMode             string `json:"replication_dr_mode"`
		ServerTime         int64  `json:"server_time_utc"`
		Version            string `json:"version"`
		ClusterName        string `json:"cluster_name"`
	}{
		Initialized: initialized, PerformanceMode: "disabled", DRMode: "disabled",
		ServerTime: c.keep.Now().Unix(), Version: c.config.Version, ClusterName: "fluxkeep",
	})
}

// statusIn reads an HTTP status from the query.
func statusIn(query url.Values, name string, otherwise int) (int, error) {
	if !query.Has(name) {
		return otherwise, nil
	}
	status, err := strconv.Atoi(query.Get(name))
	if err != nil || status < 200 || status > 599 {
		return 0, errParameter
	}
	return status, nil
}

// errParameter rejects a query parameter without a message, as Vault does.
var errParameter = &statusError{http.StatusBadRequest, ""}

// initialized reports whether the server is set up.
func (c *call) initialized() (bool, error) {
	allowed, err := c.keep.SetupAllowed(c.r.Context())
	return !allowed, err
}

// initStatus reports whether the server is set up, which Vault calls
// initialized.
func (c *call) initStatus() error {
	initialized, err := c.initialized()
	if err != nil {
		return err
	}
	return c.sendJSON(http.StatusOK, struct {
		Initialized bool `json:"initialized"`
	}{initialized})
}

// sealStatus reports that the server is unsealed: it opens its keys before it
// listens.
func (c *call) sealStatus() error {
	initialized, err := c.initialized()
	if err != nil {
		return err
	}
	return c.sendJSON(http.StatusOK, struct {
		Type         string    `json:"type"`
		Initialized  bool      `json:"initialized"`
		Sealed       bool      `json:"sealed"`
		Threshold    int       `json:"t"`
		Shares       int       `json:"n"`
		Progress     int       `json:"progress"`
		Nonce        string    `json:"nonce"`
		Version      string    `json:"version"`
		BuildDate    string    `json:"build_date"`
		Migration    bool      `json:"migration"`
		ClusterName  string    `json:"cluster_name"`
		RecoverySeal bool      `json:"recovery_seal"`
		StorageType  string    `json:"storage_type"`
		Started      time.Time `json:"started"`
	}{
		Type: "envelope", Initialized: initialized, Threshold: 1, Shares: 1, Version: c.config.Version,
		ClusterName: "fluxkeep", StorageType: "fluxkeep", Started: c.config.Started,
	})
}

// leader reports this server as the leader, for the status commands.
func (c *call) leader() error {
	return c.sendJSON(http.StatusOK, struct {
		HAEnabled            bool      `json:"ha_enabled"`
		IsSelf               bool      `json:"is_self"`
		ActiveTime           time.Time `json:"active_time"`
		LeaderAddress        string    `json:"leader_address"`
		LeaderClusterAddress string    `json:"leader_cluster_address"`
	}{ActiveTime: c.config.Started})
}

// mountInfo describes one mount.
type mountInfo struct {
	Path        string            `json:"path,omitempty"`
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Accessor    string            `json:"accessor"`
	Config      mountConfig       `json:"config"`
	Local       bool              `json:"local"`
	SealWrap    bool              `json:"seal_wrap"`
	Options     map[string]string `json:"options"`
}

type mountConfig struct {
	DefaultLeaseTTL int  `json:"default_lease_ttl"`
	MaxLeaseTTL     int  `json:"max_lease_ttl"`
	ForceNoCache    bool `json:"force_no_cache"`
}

func secretMount() mountInfo {
	return mountInfo{
		Type: "kv", Description: "secrets of organizations", Accessor: "kv_secret",
		Options: map[string]string{"version": "2"},
	}
}

func (c *call) mounts() error {
	return c.respondBoth(map[string]any{"secret/": secretMount()}, nil)
}

func tokenMount() mountInfo {
	return mountInfo{Type: "token", Description: "tokens", Accessor: "auth_token"}
}

func approleMount() mountInfo {
	hour := int(time.Hour / time.Second)
	return mountInfo{Type: "approle", Description: "a token's ID and the token", Accessor: "auth_approle", Config: mountConfig{hour, hour, false}}
}

func systemMount() mountInfo {
	return mountInfo{Type: "system", Description: "what the server tells of itself", Accessor: "system"}
}

// visibleMounts lists the mounts.
func (c *call) visibleMounts() error {
	return c.respondJSON(map[string]any{
		"secret": map[string]any{"secret/": secretMount()},
		"auth":   map[string]any{"token/": tokenMount(), "approle/": approleMount()},
	})
}

// mountOf returns the mount of a path, which the command-line tools request
// first.
func (c *call) mountOf() error {
	path := c.r.PathValue("path") + "/"
	for _, at := range []struct {
		prefix, path string // the response has path without its "auth/" prefix
		info         func() mountInfo
	}{
		{"secret/", "secret/", secretMount},
		{"sys/", "sys/", systemMount},
		{"auth/token/", "token/", tokenMount},
		{"auth/approle/", "approle/", approleMount},
	} {
		if strings.HasPrefix(path, at.prefix) {
			m := at.info()
			m.Path = at.path
			return c.respondJSON(m)
		}
	}
	return &statusError{http.StatusForbidden,
		"preflight capability check returned 403, please ensure client's policies grant access to path " + strconv.Quote(path)}
}
