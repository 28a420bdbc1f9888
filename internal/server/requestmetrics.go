package server

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestMetrics counts requests by the pattern of their route, never by path. The
// counters are looked up in advance, so counting takes one map lookup and a few
// atomic additions.
type requestMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	routes   map[string]*routeMetrics
	unknown  *routeMetrics // for paths without a route

	inFlight prometheus.GaugeFunc
	limited  prometheus.Counter
	panics   prometheus.Counter
}

// routeMetrics are the metrics of one route.
type routeMetrics struct {
	all     *requestMetrics
	pattern string
	methods [len(methodNames)]methodMetrics
}

type methodMetrics struct {
	duration atomic.Pointer[prometheus.Observer]
	statuses [len(statusNames)]atomic.Pointer[prometheus.Counter]
}

// unknownRoute is the pattern for all paths without a route.
const unknownRoute = "none"

// methodNames are the methods with separate metrics. A client can send any word as
// a method, so others share one.
var methodNames = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions, "LIST", "SCAN", "other",
}

var statusNames = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

func methodIndex(method string) int {
	for i, name := range methodNames[:len(methodNames)-1] {
		if method == name {
			return i
		}
	}
	return len(methodNames) - 1
}

func statusIndex(status int) int { return min(max(status/100, 1), len(statusNames)) - 1 }

func newRequestMetrics(patterns []string, inFlight func() float64) *requestMetrics {
	m := &requestMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fluxkeep_http_requests_total",
			Help: "Requests answered, by the pattern of the route, the method and the class of the status.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fluxkeep_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fluxkeep_http_requests_in_flight",
			Help: "Requests that are being answered.",
		}, inFlight),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fluxkeep_http_requests_limited_total",
			Help: "Requests refused because their address sent too many.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fluxkeep_http_panics_total",
			Help: "Requests that ended in a panic: each is a defect of the server.",
		}),
		routes: make(map[string]*routeMetrics, len(patterns)),
	}
	m.unknown = &routeMetrics{all: m, pattern: unknownRoute}
	for _, p := range patterns {
		m.routes[p] = &routeMetrics{all: m, pattern: p}
	}
	return m
}

func (m *requestMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.inFlight, m.limited, m.panics}
}

// route returns the metrics of a pattern, or those of unknown paths.
func (m *requestMetrics) route(pattern string) *routeMetrics {
	if r := m.routes[pattern]; r != nil {
		return r
	}
	return m.unknown
}

// done counts a request.
func (r *routeMetrics) done(method string, status int, took time.Duration) {
	i, j := methodIndex(method), statusIndex(status)
	m := &r.methods[i]
	counter := m.statuses[j].Load()
	if counter == nil {
		c := r.all.requests.WithLabelValues(r.pattern, methodNames[i], statusNames[j])
		counter = &c
		m.statuses[j].Store(counter)
	}
	(*counter).Inc()
	observer := m.duration.Load()
	if observer == nil {
		o := r.all.duration.WithLabelValues(r.pattern, methodNames[i])
		observer = &o
		m.duration.Store(observer)
	}
	(*observer).Observe(took.Seconds())
}
