package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

const (
	// maxHeader limits a request's header. The longest name takes 3 KiB in a path.
	maxHeader = 64 << 10
	// maxStreams and the buffers limit the memory of one HTTP/2 connection.
	maxStreams       = 64
	connectionBuffer = 256 << 10
	streamBuffer     = 64 << 10
	// certificatePoll is how often the certificate's files are checked.
	certificatePoll = 5 * time.Second
	// drainPoll is how often a server that shuts down checks for requests in
	// flight.
	drainPoll = 5 * time.Millisecond
	// keyPoll is how often the server checks that the data keys can be opened, and
	// keyPatience how long that may take.
	keyPoll, keyPatience = 5 * time.Minute, time.Minute
	// dataEnd limits the wait for the store and the audit log to close.
	dataEnd = 30 * time.Second
	// tracesEnd limits the wait for the collector to take the last traces.
	tracesEnd = 3 * time.Second
)

// Server is a running server.
type Server struct {
	config      *config.Config
	logger      *slog.Logger
	level       *slog.LevelVar
	output      *output // what logger writes to, if it may drop lines
	data        *datadir.Data
	cluster     *cluster // nil if the store is in the data folder
	listener    *listener
	certificate *certificate // nil without TLS
	tracing     *tracing     // nil for none
	handler     *handler
	http        *http.Server
	settings    atomic.Pointer[map[string]any]

	health         *http.Server
	healthListener net.Listener // nil for none

	profiles         *http.Server
	profilesListener net.Listener // nil for no profiles

	stopping   chan struct{} // closed when the shutdown begins
	stopOnce   sync.Once
	background context.CancelFunc
	loops      sync.WaitGroup
	failed     chan error // gets the error of a listener that fails
	closeOnce  sync.Once
	closeErr   error
}

// Start opens everything and serves. level is logger's level. If Start returns an
// error, nothing is open and an existing data folder is unchanged.
func Start(ctx context.Context, c *config.Config, logger *slog.Logger, level *slog.LevelVar) (*Server, error) {
	return startWith(ctx, c, logger, level, nil)
}

// startWith is Start with a logger that writes to out.
func startWith(ctx context.Context, c *config.Config, logger *slog.Logger, level *slog.LevelVar, out *output) (*Server, error) {
	logger, held := holdLog(logger)
	s := &Server{
		config: c, logger: logger, level: level, output: out,
		stopping: make(chan struct{}), failed: make(chan error, 2), background: func() {},
	}
	if err := s.open(ctx); err != nil {
		_ = s.release(context.Background()) // the first error says more
		return nil, err
	}
	held.release()
	s.serve()
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	c := s.config
	if c.TLSCert != "" {
		if s.certificate, err = openCertificate(c.TLSCert, c.TLSKey, s.logger); err != nil {
			return err
		}
	}
	// Do this before listening, since it may wait for a service and clients
	// shouldn't wait too.
	if s.data, err = datadir.Unlock(ctx, c); err != nil {
		return err
	}
	// Listen before changing the data folder, so an address in use leaves it
	// unchanged. Connections wait until it is open.
	l, err := net.Listen("tcp", c.BindAddress)
	if err != nil {
		return fmt.Errorf("serve at --http-bind-address: %w", err)
	}
	s.listener = s.limit(l)
	if c.HealthAddress != "" {
		hl, err := net.Listen("tcp", c.HealthAddress)
		if err != nil {
			return fmt.Errorf("serve at --health-address: %w", err)
		}
		s.healthListener = limitListener(hl, healthConnections, healthConnections, nil, s.logger)
	}
	if c.PprofAddress != "" {
		if s.profilesListener, err = net.Listen("tcp", c.PprofAddress); err != nil {
			return fmt.Errorf("serve profiles: %w", err)
		}
		s.profiles = pprofServer()
	}
	s.data.Reserve = reserveMemory
	if err := s.data.Open(ctx, c, s.logger); err != nil {
		return err
	}
	if s.data.Etcd != nil {
		s.cluster = &cluster{store: s.data.Etcd}
	}
	return s.assemble(ctx)
}

// limit applies the limits on connections to a listener.
func (s *Server) limit(l net.Listener) *listener {
	c := s.config
	n := connectionLimit(c.MaxConnections, fileLimit())
	if n < c.MaxConnections {
		s.logger.Warn("fewer connections than --max-connections: the system limits open files", "connections", n)
	}
	perAddress := c.MaxConnectionsPerAddress
	if perAddress == 0 {
		perAddress = max(1, n/4)
	}
	return limitListener(l, n, perAddress, c.TrustedProxies, s.logger)
}

// assemble builds the handlers and servers.
func (s *Server) assemble(ctx context.Context) (err error) {
	c := s.config
	if s.tracing, err = openTracing(ctx, c, s.logger); err != nil {
		return fmt.Errorf("open tracing: %w", err)
	}
	h, err := newHandler(c, s.Addr(), s.data.Keep, s.logger, influxv2.Config{
		Ready: s.ready, Warnings: s.warnings, Done: s.stopping,
		Settings: func() map[string]any { return *s.settings.Load() },
	}, s.pageInfo)
	if err != nil {
		return err
	}
	h.tracing = s.tracing
	s.handler = h
	s.takeSettings()
	registry, err := newRegistry(s)
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	h.metrics = metricsHandler(registry)
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: c.ReadHeaderTimeout,
		IdleTimeout:       c.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          connectionLog(s.logger),
		ConnState:         s.listener.track,
		ConnContext:       connContext,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: connectionBuffer,
			MaxReceiveBufferPerStream:     streamBuffer,
			WriteByteTimeout:              c.WriteTimeout,
		},
	}
	s.health = healthServer(h, c, s.logger)
	if s.certificate != nil {
		s.http.TLSConfig = tlsConfig(s.certificate, c.TLSMinVersion)
	}
	return nil
}

// connContext makes a connection available to its requests.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if c := connectionOf(conn); c != nil {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	return ctx
}

func (s *Server) takeSettings() {
	settings := s.config.Settings()
	s.settings.Store(&settings)
}

// serve starts to serve requests.
func (s *Server) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	s.background = cancel
	if s.certificate != nil {
		s.loops.Go(func() { s.certificate.watch(ctx, certificatePoll) })
	}
	s.loops.Go(func() { s.watchKeys(ctx) })
	if s.cluster != nil {
		s.loops.Go(func() { s.watchCluster(ctx) })
	}
	s.loops.Go(func() {
		s.serveUntilClosed("HTTP", func() error {
			if s.certificate != nil {
				return s.http.ServeTLS(s.listener, "", "")
			}
			return s.http.Serve(s.listener)
		})
	})
	if s.healthListener != nil {
		s.loops.Go(func() { s.serveUntilClosed("health", func() error { return s.health.Serve(s.healthListener) }) })
	}
	if s.profilesListener != nil {
		s.loops.Go(func() {
			s.serveUntilClosed("profiles", func() error { return s.profiles.Serve(s.profilesListener) })
		})
	}
	s.announce()
}

func (s *Server) serveUntilClosed(what string, serve func() error) {
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serve %s: %w", what, err)
	}
}

// announce logs the server's address and configuration warnings.
func (s *Server) announce() {
	c, addr := s.config, s.Addr()
	s.logger.Info("listening", "address", addr.String(), "tls", s.certificate != nil, "data", s.data.Path(), "version", c.Version)
	if host := hostOf(addr.String()); s.certificate == nil && !config.Loopback(host) {
		s.logger.Warn("TLS is off, and the address can be reached from other machines: tokens and secrets cross the network in clear; use --tls-cert and --tls-key, or a proxy that speaks TLS")
	}
	if s.data.HoldsKey(c) {
		s.logger.Warn("the key-encryption key is in the data folder: move it to another disk, keep a copy, and name it with --key-file", "file", c.KeyFile())
	}
	for _, name := range c.UnknownVars {
		s.logger.Warn("unknown environment variable (no such setting)", "variable", name)
	}
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Failed returns a channel that receives an error if the server can't continue.
func (s *Server) Failed() <-chan error { return s.failed }

// ready returns nil if the server can do its work, or the reason why it can't.
func (s *Server) ready() error {
	if s.handler.draining.Load() {
		return &keep.Error{Code: keep.CodeUnavailable, Message: "the server is shutting down"}
	}
	if err := s.data.Keep.Writable(); err != nil {
		return err
	}
	if s.cluster != nil {
		if err := s.cluster.available(); err != nil {
			return errNoEtcd(err)
		}
		return nil
	}
	if !s.data.Embedded.Metrics().Available {
		return &keep.Error{Code: keep.CodeUnavailable, Message: "the store can't be written now"}
	}
	return nil
}

// warnings returns problems that don't keep the server from working.
func (s *Server) warnings() []influxv2.Warning {
	keys := s.data.KeyHealth()
	warn := func(name string, err error, message string) influxv2.Warning {
		if err != nil {
			err = &keep.Error{Code: keep.CodeUnavailable, Message: message}
		}
		return influxv2.Warning{Name: name, Err: err}
	}
	clockErr := s.data.Keep.ClockErr()
	if clockErr != nil {
		clockErr = &keep.Error{Code: keep.CodeUnavailable, Message: clockErr.Error()}
	}
	var damaged error
	if n := len(s.data.Keep.Scrubbed().Damage); n > 0 {
		damaged = fmt.Errorf("%d damaged", n)
	}
	all := []influxv2.Warning{
		warn("stored-data", damaged, "stored data is damaged; the server's log and \"fluxkeep scrub status\" name it"),
		warn("key-provider", keys.Provider, "the key-encryption key can't be used; the server works, but couldn't start again"),
		{Name: "clock", Err: clockErr},
		warn("keyset", keys.File, "the keyset in the data folder is missing or changed; the server works, but couldn't start again"),
	}
	if s.cluster != nil {
		all = append(all, warn("etcd", s.cluster.alarm(), "etcd has raised an alarm, so changes may fail; \"fluxkeep cluster status\" names it"))
	}
	return all
}

// watchKeys periodically checks that the data keys can still be opened.
func (s *Server) watchKeys(ctx context.Context) {
	tick := time.NewTicker(keyPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		once, cancel := context.WithTimeout(ctx, keyPatience)
		s.data.CheckKeys(once)
		cancel()
	}
}

// Reload reloads the TLS certificate, rotates the audit log or opens the file that
// replaced it, and applies changed settings that don't need a restart.
func (s *Server) Reload() {
	if s.certificate != nil {
		s.certificate.refresh()
	}
	if err := s.data.Audit.Rotate(); err != nil {
		s.logger.Error("audit log cannot be rotated; continuing in the same file", "error", err)
	}
	restart, err := s.config.Reload()
	if err != nil {
		s.logger.Error("configuration can't be read; the old one stays in use", "error", err)
		return
	}
	s.level.Set(s.config.LogLevel)
	s.takeSettings()
	for _, setting := range restart {
		s.logger.Warn("changed setting needs a restart", "setting", setting)
	}
	s.logger.Info("reloaded", "level", s.config.LogLevel.String())
}

// Shutdown stops the server: it finishes requests in flight, answers new ones with
// 503, and then closes everything. It cuts off requests that are still in flight
// when ctx ends, or that only a hanging audit log delays.
func (s *Server) Shutdown(ctx context.Context) error {
	s.handler.draining.Store(true)
	s.stopOnce.Do(func() { close(s.stopping) })
	s.logger.Info("shutting down", "requests", s.handler.inFlight.Load())
	s.drain(ctx)
	if n := s.handler.inFlight.Load(); n > 0 {
		s.logger.Warn("requests are cut off", "requests", n)
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel()
	}
	return s.close(ctx)
}

// drain waits until no request is in flight, or until ctx ends. It doesn't wait for
// the one request that a hanging audit log may delay.
func (s *Server) drain(ctx context.Context) {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for n := s.handler.inFlight.Load(); n > 0 && !(n == 1 && s.data.Audit.Hanging()); n = s.handler.inFlight.Load() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close stops the server at once.
func (s *Server) Close() error {
	s.handler.draining.Store(true)
	s.stopOnce.Do(func() { close(s.stopping) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return s.close(ctx)
}

func (s *Server) close(ctx context.Context) error {
	s.closeOnce.Do(func() { s.closeErr = s.release(ctx) })
	return s.closeErr
}

// closeData closes the data folder, but doesn't wait for a hanging disk: every
// acknowledged change is durable.
func (s *Server) closeData() error {
	closed := make(chan error, 1)
	go func() { closed <- s.data.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(dataEnd):
		return fmt.Errorf("the data folder was not closed within %v: its disk or the audit log hangs", dataEnd)
	}
}

// release closes everything.
func (s *Server) release(ctx context.Context) error {
	s.background()
	if s.http != nil {
		// Shutdown lets responses finish.
		if err := s.http.Shutdown(ctx); err != nil {
			_ = s.http.Close() // closes connections, which may be gone
		}
	}
	if s.healthListener != nil {
		if s.health != nil {
			_ = s.health.Close()
		}
		_ = s.healthListener.Close()
	}
	if s.profilesListener != nil {
		_ = s.profiles.Close()
		_ = s.profilesListener.Close() // which Serve may not have got
	}
	if s.listener != nil {
		_ = s.listener.Close() // the HTTP server may have done that
	}
	s.loops.Wait()
	var err error
	if s.data != nil {
		err = s.closeData()
	}
	// Last, since it may wait for an unreachable collector.
	ctx, cancel := context.WithTimeout(ctx, tracesEnd)
	defer cancel()
	if terr := s.tracing.close(ctx); terr != nil {
		s.logger.Warn("the last traces can't be sent", "error", terr)
	}
	return err
}
