package keep

import (
	"context"
	"time"
)

// ClusterStatus is the state of the servers that share a store, and of what it is
// stored in.
type ClusterStatus struct {
	Changes uint64 // groups of changes that were ever made
	Servers []ServerStatus
	Members []MemberStatus
	Alarms  []string
}

// ServerStatus is the state of a server that is running.
type ServerStatus struct {
	ID                     ID
	Name, Version, Address string
	Since                  time.Time
	Leads                  bool // does the work that one server does for all
	// Reported says whether the rest is known.
	Reported bool
	Behind   uint64        // groups of changes that the server doesn't have yet
	Skew     time.Duration // by which its clock is ahead of the other servers'
}

// MemberStatus is the state of a member of the etcd cluster.
type MemberStatus struct {
	Endpoint, Name, Version string
	Leader                  bool
	Size, Quota             int64 // bytes; Quota is 0 if it is unknown
	Err                     error // why the member doesn't answer
}

// ClusterStatus returns the state of the cluster, which is empty if the server's store
// is its own. Needs an operator.
func (k *Keep) ClusterStatus(ctx context.Context, c Caller) (ClusterStatus, error) {
	rec := c.record("cluster.status", 0)
	if !c.Operator() {
		return ClusterStatus{}, k.recordOutcome(rec, k.now(), ErrNotOperator)
	}
	if k.cluster == nil {
		return ClusterStatus{}, k.recordOutcome(rec, k.now(), nil)
	}
	s, err := k.cluster.Status(ctx)
	return s, k.recordOutcome(rec, k.now(), domain(err))
}
