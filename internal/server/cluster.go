package server

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/store/etcdstore"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// clusterPoll is how often the server checks that it reaches etcd.
	clusterPoll = 2 * time.Second
	// statusPoll is how often it asks for the state that the metrics show.
	statusPoll = 15 * time.Second
	// compactPoll is how often etcd's history is removed, up to that long ago.
	compactPoll = 5 * time.Minute
)

// cluster is what the server last saw of the store in etcd.
type cluster struct {
	store  *etcdstore.Store
	err    atomic.Pointer[error] // why the store can't be used; nil if it can
	status atomic.Pointer[etcdstore.Status]
}

// available returns nil if the store could be used a moment ago.
func (c *cluster) available() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

// alarm returns an error if a member of etcd had raised an alarm a moment ago.
func (c *cluster) alarm() error {
	if s := c.status.Load(); s != nil && len(s.Alarms) > 0 {
		return errors.New(strings.Join(s.Alarms, ", "))
	}
	return nil
}

// watchCluster keeps what the server sees of etcd up to date, and has the history
// removed if this server leads.
func (s *Server) watchCluster(ctx context.Context) {
	tick := time.NewTicker(clusterPoll)
	defer tick.Stop()
	var asked, compacted time.Time
	for {
		s.checkCluster(ctx)
		now := time.Now()
		if now.Sub(asked) >= statusPoll {
			asked = now
			s.askCluster(ctx)
		}
		if s.config.Etcd.Compact == config.CompactOn && s.cluster.store.Elected() && now.Sub(compacted) >= compactPoll {
			compacted = now
			if err := s.cluster.store.Compact(ctx, now.Add(-compactPoll)); err != nil && ctx.Err() == nil {
				s.logger.Warn("etcd's history can't be removed, will retry", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkCluster finds out whether the store can be used. The server ends if another one
// has a copy of its data folder.
func (s *Server) checkCluster(ctx context.Context) {
	err := s.cluster.store.Check(ctx)
	if ctx.Err() != nil {
		return
	}
	was := s.cluster.available()
	if err == nil {
		s.cluster.err.Store(nil)
		if was != nil {
			s.logger.Info("etcd can be used again")
		}
		return
	}
	s.cluster.err.Store(&err)
	switch {
	case errors.Is(err, etcdstore.ErrDuplicateServer):
		select {
		case s.failed <- err:
		default:
		}
	case was == nil:
		s.logger.Error("etcd can't be used", "error", err)
	}
}

func (s *Server) askCluster(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, statusPoll)
	defer cancel()
	status, err := s.cluster.store.Status(ctx)
	if err != nil {
		s.logger.Debug("the state of the cluster is unknown", "error", err)
		return
	}
	s.cluster.status.Store(status)
}

// errNoEtcd says that requests can't be answered.
func errNoEtcd(err error) error {
	return &keep.Error{Code: keep.CodeUnavailable, Message: "the store in etcd can't be used now", Err: err}
}

// clusterCollector shows what the server last saw of the cluster.
type clusterCollector struct {
	cluster *cluster
	keep    *keep.Keep
	server  []prometheus.Collector

	up, leader, size, quota *prometheus.Desc
}

func newClusterCollector(c *cluster, k *keep.Keep) *clusterCollector {
	member := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("fluxkeep_etcd_"+name, help, []string{"endpoint"}, nil)
	}
	status := func(read func(*etcdstore.Status) int) func() float64 {
		return func() float64 {
			if s := c.status.Load(); s != nil {
				return float64(read(s))
			}
			return 0
		}
	}
	truth := func(read func() bool) func() float64 {
		return func() float64 {
			if read() {
				return 1
			}
			return 0
		}
	}
	return &clusterCollector{
		cluster: c, keep: k,
		server: []prometheus.Collector{
			gauge("fluxkeep_etcd_available", "1 while the store in etcd can be used.", truth(func() bool { return c.available() == nil })),
			gauge("fluxkeep_etcd_alarms", "Active alarms of etcd's members; \"fluxkeep cluster status\" names them.", status(func(s *etcdstore.Status) int { return len(s.Alarms) })),
			gauge("fluxkeep_cluster_servers", "Servers that share the store and are running.", status(func(s *etcdstore.Status) int { return len(s.Servers) })),
			gauge("fluxkeep_cluster_leads", "1 at the server that does the background work for all.", truth(c.store.Elected)),
			gauge("fluxkeep_cluster_last_change_timestamp_seconds", "When the last change that this server knows was made, in Unix time.", func() float64 { return float64(c.store.LastCommit().UnixMilli()) / 1000 }),
			gauge("fluxkeep_cluster_clock_skew_seconds", "By how much this server's clock is ahead of the other servers'; 0 if that isn't known. Above 60, the server makes no changes.", func() float64 {
				skew, _ := k.ClockSkew()
				return skew.Seconds()
			}),
		},
		up:     member("member_up", "1 if the member answered."),
		leader: member("member_leader", "1 at the member that leads."),
		size:   member("member_size_bytes", "Size of the member's database."),
		quota:  member("member_quota_bytes", "Size at which the member takes no more changes; 0 if it doesn't say."),
	}
}

func (c *clusterCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.server {
		m.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{c.up, c.leader, c.size, c.quota} {
		ch <- d
	}
}

func (c *clusterCollector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.server {
		m.Collect(ch)
	}
	s := c.cluster.status.Load()
	if s == nil {
		return
	}
	for _, m := range s.Members {
		show := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, m.Endpoint)
		}
		if m.Err != nil {
			show(c.up, 0)
			continue
		}
		show(c.up, 1)
		leader := 0.0
		if m.Leader {
			leader = 1
		}
		show(c.leader, leader)
		show(c.size, float64(m.DBSize))
		show(c.quota, float64(m.Quota))
	}
}
