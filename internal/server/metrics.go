package server

import (
	"math"
	"net/http"
	"runtime"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newRegistry returns a registry with all of the server's metrics.
func newRegistry(s *Server) (*prometheus.Registry, error) {
	all := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(s.config),
	}
	if s.cluster != nil {
		all = append(all, newClusterCollector(s.cluster, s.data.Keep))
	} else {
		all = append(all, newStoreCollector(s.data.Embedded.Metrics))
	}
	all = append(all, s.handler.requests.collectors()...)
	all = append(all, connectionMetrics(s.listener)...)
	all = append(all, limitMetrics(s.handler.limits)...)
	all = append(all, domainMetrics(s.data)...)
	all = append(all, auditMetrics(s.data)...)
	all = append(all, scrubMetrics(s.data.Keep.Scrubbed)...)
	all = append(all, keyMetrics(s.data.KeyHealth)...)
	if s.output != nil {
		all = append(all, counter("fluxkeep_log_lines_dropped_total", "Lines of the server's own log that were dropped because nobody took them.", s.output.dropped.Load))
	}
	if s.certificate != nil {
		all = append(all, gauge("fluxkeep_tls_certificate_expiry_timestamp_seconds", "When the TLS certificate expires, in Unix time.",
			func() float64 { return float64(s.certificate.current.Load().Leaf.NotAfter.Unix()) }))
	}
	registry := prometheus.NewRegistry()
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return registry, nil
}

// metricsHandler serves a registry's metrics to a few clients at a time.
func metricsHandler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

func gauge(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
}

func counter(name, help string, read func() int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
}

func buildInfo(c *config.Config) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fluxkeep_build_info",
		Help: "Always 1; the labels say which program this is.",
		ConstLabels: prometheus.Labels{
			"version": c.Version, "commit": c.Commit, "goversion": runtime.Version(),
		},
	}, func() float64 { return 1 })
}

func connectionMetrics(l *listener) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("fluxkeep_http_connections", "Open connections.", func() float64 { return float64(l.open.Load()) }),
		gauge("fluxkeep_http_connections_limit", "Connections that can be open at a time.", func() float64 { return float64(l.limit) }),
		counter("fluxkeep_http_connections_waited_total", "Times that the limit of connections was reached.", l.full.Load),
		counter("fluxkeep_http_connections_dropped_total", "Connections that were closed to make room for others.", l.dropped.Load),
		counter("fluxkeep_http_connections_refused_total", "Connections that were refused because their address had its share.", l.refused.Load),
	}
}

func limitMetrics(l *httpapi.Limits) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("fluxkeep_http_request_memory_bytes", "Memory that requests hold for their bodies and answers.", func() float64 { return float64(l.Memory.Used()) }),
		gauge("fluxkeep_http_request_memory_limit_bytes", "Memory that requests can hold.", func() float64 { return float64(l.Memory.Total()) }),
		gauge("fluxkeep_http_requests_waiting", "Requests that wait for a change.", func() float64 { return float64(l.Waiting.Used()) }),
	}
}

func domainMetrics(p *datadir.Data) []prometheus.Collector {
	s := p.Keep.Stats()
	return []prometheus.Collector{
		counter("fluxkeep_drop_guards_total", "Writes to the influxd address that removed so many names that the version before was pinned.", s.DropGuards.Load),
		counter("fluxkeep_merges_total", "Stale writes to the influxd address that were merged.", s.Merges.Load),
		counter("fluxkeep_merge_conflicts_total", "Stale writes to the influxd address that conflicted.", s.MergeConflicts.Load),
		gauge("fluxkeep_backup_last_success_timestamp_seconds", "When the last backup was completed, in Unix time; 0 if none was.", func() float64 {
			if at := p.Keep.LastBackup(); !at.IsZero() {
				return float64(at.Unix())
			}
			return 0
		}),
		counter("fluxkeep_organizations_adopted_total", "Organizations that were made by a write by Vault's protocol.", s.Adopted.Load),
	}
}

func auditMetrics(p *datadir.Data) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("fluxkeep_audit_log_writable", "1 while the audit log can be written; nothing is answered otherwise.", func() float64 {
			if p.Audit.Err() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fluxkeep_audit_log_lines_total",
			Help: "Lines of the audit log since it began, over all files.",
		}, func() float64 { return float64(p.Audit.Head().Seq) }),
		gauge("fluxkeep_audit_log_file_bytes", "Size of the audit log's newest file.", func() float64 { return float64(p.Audit.Size()) }),
		gauge("fluxkeep_audit_log_free_bytes", "Bytes that can be written before only the reserve is free on the audit log's disk; +Inf when that isn't known.", func() float64 {
			if room, ok := p.Audit.Room(); ok {
				return float64(room)
			}
			return math.Inf(1)
		}),
		gauge("fluxkeep_audit_log_warnings", "Things that are wrong with the audit log although it can be written; /health names them.", func() float64 { return float64(len(p.Audit.Warnings())) }),
	}
}

func keyMetrics(read func() datadir.KeyHealth) []prometheus.Collector {
	fine := func(err error) float64 {
		if err != nil {
			return 0
		}
		return 1
	}
	return []prometheus.Collector{
		gauge("fluxkeep_key_provider_available", "1 while the key-encryption key unwraps the data keys; a restart needs it.",
			func() float64 { return fine(read().Provider) }),
		gauge("fluxkeep_key_provider_checked_timestamp_seconds", "When that was tried last, in Unix time.",
			func() float64 { return float64(read().Checked.Unix()) }),
		gauge("fluxkeep_keyset_intact", "1 while the keyset in the data folder is the one that was saved; a restart needs it.",
			func() float64 { return fine(read().File) }),
	}
}

func scrubMetrics(read func() keep.ScrubStatus) []prometheus.Collector {
	return []prometheus.Collector{
		gauge("fluxkeep_scrub_damage", "What was found damaged in the stored data; /health warns, and the log names it.",
			func() float64 { return float64(len(read().Damage)) }),
		gauge("fluxkeep_scrub_organizations_verified", "Organizations whose stored data was verified in this pass.",
			func() float64 { return float64(read().Done) }),
		gauge("fluxkeep_scrub_organizations", "Organizations to verify in this pass; 0 while unknown.",
			func() float64 { return float64(read().Total) }),
		gauge("fluxkeep_scrub_last_pass_timestamp_seconds", "When the last pass over the stored data ended, in Unix time; 0 if none has since the start.",
			func() float64 {
				if t := read().Passed; !t.IsZero() {
					return float64(t.Unix())
				}
				return 0
			}),
	}
}

// storeCollector reads the store's metrics once for each collection.
type storeCollector struct {
	read  func() pebblestore.Metrics
	descs []storeMetric
}

type storeMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*pebblestore.Metrics) float64
}

func newStoreCollector(read func() pebblestore.Metrics) *storeCollector {
	c := &storeCollector{read: read}
	add := func(kind prometheus.ValueType, name, help string, value func(*pebblestore.Metrics) float64) {
		c.descs = append(c.descs, storeMetric{prometheus.NewDesc("fluxkeep_store_"+name, help, nil, nil), kind, value})
	}
	const total, now = prometheus.CounterValue, prometheus.GaugeValue
	add(total, "changes_total", "Changes that were made durable.", func(m *pebblestore.Metrics) float64 { return float64(m.Changes) })
	add(total, "commits_total", "Groups of changes, each made durable with one sync of the disk.", func(m *pebblestore.Metrics) float64 { return float64(m.Groups) })
	add(total, "log_bytes_total", "Bytes written to the store's log.", func(m *pebblestore.Metrics) float64 { return float64(m.LogBytes) })
	add(total, "compactions_total", "Compactions of tables.", func(m *pebblestore.Metrics) float64 { return float64(m.Compactions) })
	add(total, "compactions_failed_total", "Compactions of tables that failed.", func(m *pebblestore.Metrics) float64 { return float64(m.FailedCompactions) })
	add(total, "flushes_total", "Flushes of memory to tables.", func(m *pebblestore.Metrics) float64 { return float64(m.Flushes) })
	add(total, "damages_total", "Reads that found damaged data.", func(m *pebblestore.Metrics) float64 { return float64(m.Damages) })
	add(total, "background_errors_total", "Failures of the store's background work.", func(m *pebblestore.Metrics) float64 { return float64(m.BackgroundErrors) })
	add(total, "recoveries_total", "Times that the store was opened anew after a failure of the disk.", func(m *pebblestore.Metrics) float64 { return float64(m.Recoveries) })
	add(now, "available", "1 while changes are taken.", func(m *pebblestore.Metrics) float64 {
		if m.Available {
			return 1
		}
		return 0
	})
	add(now, "disk_bytes", "Size of the store's files.", func(m *pebblestore.Metrics) float64 { return float64(m.DiskBytes) })
	add(now, "table_bytes", "Size of the store's live tables.", func(m *pebblestore.Metrics) float64 { return float64(m.TableBytes) })
	add(now, "memory_bytes", "Changes that are in no table yet.", func(m *pebblestore.Metrics) float64 { return float64(m.MemoryBytes) })
	add(now, "cache_bytes", "Size of the cache of blocks.", func(m *pebblestore.Metrics) float64 { return float64(m.CacheBytes) })
	add(now, "layers", "Layers of tables that a read of recent data has to merge.", func(m *pebblestore.Metrics) float64 { return float64(m.Layers) })
	return c
}

func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.descs {
		ch <- m.desc
	}
}

func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	values := c.read()
	for _, m := range c.descs {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&values))
	}
}
