package vaultkv

import (
	"net/http"
	"net/url"
	"strconv"
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
		ClusterID          string `json:"cluster_id"`
	}{
		Initialized: initialized, PerformanceMode: "disabled", DRMode: "disabled",
		ServerTime: c.keep.Now().Unix(), Version: c.config.Version, ClusterName: clusterName, ClusterID: c.clusterID(),
	})
}

const clusterName = "fluxkeep"

// clusterID identifies the server's data, to anyone.
func (c *call) clusterID() string { return formatUUID(c.keep.InstanceID("cluster")) }

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
		CommitDate   string    `json:"commit_date"` // OpenBao's, since 2.6
		ClusterName  string    `json:"cluster_name"`
		ClusterID    string    `json:"cluster_id"`
		RecoverySeal bool      `json:"recovery_seal"`
		StorageType  string    `json:"storage_type"`
		Started      time.Time `json:"started"`
	}{
		Type: "envelope", Initialized: initialized, Threshold: 1, Shares: 1, Version: c.config.Version,
		ClusterName: clusterName, ClusterID: c.clusterID(), StorageType: "fluxkeep", Started: c.config.Started,
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
