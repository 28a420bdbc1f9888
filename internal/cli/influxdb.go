package cli

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// influxDBError reports that the server is an InfluxDB. It shares a part of the
// API, so a command meant for Fluxkeep could change InfluxDB's data.
type influxDBError struct{ version string }

func (e *influxDBError) Error() string {
	return fmt.Sprintf("the server is an InfluxDB %s, not a Fluxkeep: it keeps no versions of secrets, and nothing was changed", e.version)
}

// influxDBVersion returns the version of the InfluxDB that an answer comes
// from, or "". Fluxkeep names itself in the same header.
func influxDBVersion(h http.Header) string {
	v := h.Get("X-Influxdb-Version")
	if strings.Contains(v, "fluxkeep") {
		return ""
	}
	return strings.TrimPrefix(v, "v")
}

// fluxkeepOnly is a transport that refuses to work with an InfluxDB. It
// identifies the server before the first request that could change data.
type fluxkeepOnly struct {
	http.RoundTripper
	health string // a URL that every server answers
	known  atomic.Bool
}

func newFluxkeepOnly(host string, c *tls.Config) *fluxkeepOnly {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = c
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	t.ResponseHeaderTimeout = 5 * time.Minute // a large import takes long
	return &fluxkeepOnly{RoundTripper: t, health: healthURL(host)}
}

func healthURL(host string) string { return strings.TrimRight(host, "/") + "/health" }

func (f *fluxkeepOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && !f.known.Load() {
		probe, err := http.NewRequestWithContext(r.Context(), http.MethodGet, f.health, nil)
		if err != nil {
			return nil, err
		}
		resp, err := f.ask(probe)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
		_ = resp.Body.Close()
	}
	return f.ask(r)
}

func (f *fluxkeepOnly) ask(r *http.Request) (*http.Response, error) {
	resp, err := f.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if v := influxDBVersion(resp.Header); v != "" {
		_ = resp.Body.Close()
		return nil, &influxDBError{v}
	}
	f.known.Store(true)
	return resp, nil
}

// whoListens describes the program that listens on an address.
func whoListens(address string) string {
	c := http.Client{Timeout: 2 * time.Second}
	resp, err := c.Get(healthURL((&url.URL{Scheme: "http", Host: address}).String()))
	if err != nil {
		return "another program"
	}
	defer resp.Body.Close()
	switch v := influxDBVersion(resp.Header); {
	case v != "":
		return "an InfluxDB " + v
	case resp.Header.Get("X-Influxdb-Version") != "":
		return "another Fluxkeep"
	}
	return "another program"
}

// freeAddress returns an address with the next port that is free.
func freeAddress(host string, port int) string {
	for p := port + 1; p <= port+20; p++ {
		address := net.JoinHostPort(host, fmt.Sprint(p))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	return net.JoinHostPort(host, "0")
}
