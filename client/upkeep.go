package client

import (
	"context"
	"io"
	"net/http"
	"time"
)

// The calls below need an operator token.

// Backup writes a backup of all the server's data to w, encrypted with the
// server's key-encryption key. After an error, the data in w is not a usable
// backup.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.send(ctx, call{method: http.MethodGet, to: w, header: http.Header{"Accept": {"application/octet-stream, application/json"}}}, "fluxkeep", "backup")
}

// DataKeys describes the data keys and the progress of a rotation.
type DataKeys struct {
	Keys []DataKey `json:"keys"` // oldest first
	// Rotating is true while records may still need a key that is not primary.
	Rotating bool  `json:"rotating"`
	Done     int64 `json:"done"`  // records checked in this pass
	Total    int64 `json:"total"` // records to check, 0 while unknown
	// Error says why re-encryption has paused; the server retries.
	Error string `json:"error,omitempty"`
}

// DataKey describes a key. It contains nothing secret.
type DataKey struct {
	ID        string    `json:"id"`
	Primary   bool      `json:"primary"` // seals new records
	CreatedAt time.Time `json:"createdAt"`
}

// DataKeys returns the data keys.
func (c *Client) DataKeys(ctx context.Context) (DataKeys, error) {
	return get[DataKeys](ctx, c, nil, "fluxkeep", "keys")
}

// RotateKeys makes the server use a new data key and start re-encrypting its
// data. DataKeys reports the progress. The error is ErrConflict while another
// rotation is running.
func (c *Client) RotateKeys(ctx context.Context) (DataKeys, error) {
	return send[DataKeys](ctx, c, call{method: http.MethodPost, once: true}, "fluxkeep", "keys", "rotate")
}

// Scrub says how far the server has verified its stored data since it started.
type Scrub struct {
	Running  bool      `json:"running"`
	Done     int       `json:"done"`              // organizations verified in this pass
	Total    int       `json:"total"`             // organizations to verify, 0 while unknown
	PassedAt time.Time `json:"passedAt,omitzero"` // when the last pass ended; zero: none has
	Damage   []string  `json:"damage"`            // what is damaged, by kind and IDs
}

// Scrub returns how far the server has verified its stored data.
func (c *Client) Scrub(ctx context.Context) (Scrub, error) {
	return get[Scrub](ctx, c, nil, "fluxkeep", "scrub")
}

// Cluster is the state of servers that share their data, and of the etcd cluster
// that holds it. It is empty for a server with data of its own.
type Cluster struct {
	Changes uint64          `json:"changes"` // groups of changes that were ever made
	Servers []ClusterServer `json:"servers"`
	Members []EtcdMember    `json:"members"`
	Alarms  []string        `json:"alarms"` // of etcd
}

// ClusterServer is a server that is running.
type ClusterServer struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // of its machine
	Version string    `json:"version"`
	Address string    `json:"address"` // where it listens
	Since   time.Time `json:"since"`
	Leads   bool      `json:"leads"` // does the background work for all
	// Behind is the number of groups of changes that it had not seen when it last
	// reported, and ClockSkew by how many seconds its clock is ahead of the other
	// servers'. Both are nil until it has reported.
	Behind    *uint64  `json:"behind,omitempty"`
	ClockSkew *float64 `json:"clockSkewSeconds,omitempty"`
}

// EtcdMember is a member of the etcd cluster.
type EtcdMember struct {
	Endpoint string `json:"endpoint"`
	Name     string `json:"name,omitempty"`
	Version  string `json:"version,omitempty"`
	Leader   bool   `json:"leader"`
	Size     int64  `json:"sizeBytes"`
	Quota    int64  `json:"quotaBytes"`      // at which it takes no more changes; 0 if unknown
	Error    string `json:"error,omitempty"` // why it didn't answer
}

// Cluster returns the servers that share the server's data, and the etcd members
// that hold it.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	return get[Cluster](ctx, c, nil, "fluxkeep", "cluster")
}

// Compact purges deleted data from the server's disk.
func (c *Client) Compact(ctx context.Context) error {
	return c.send(ctx, call{method: http.MethodPost}, "fluxkeep", "compact")
}
