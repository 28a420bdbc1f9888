package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// certificate is the TLS certificate that is shown to clients. It is read
// again when one of its files changes. Files that can't be used, such as a
// new certificate whose key has not arrived yet, change nothing.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger
	current           atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // one reading at a time
	loaded fileStates // what current was read from
	broken fileStates // what was last complained about
}

// fileStates tells two files' states apart without reading them. The files
// are followed through symbolic links, by which some tools exchange both.
type fileStates [2]struct {
	modified time.Time
	size     int64
	info     fs.FileInfo
}

func (s *fileStates) same(t *fileStates) bool {
	for i := range s {
		a, b := &s[i], &t[i]
		if a.info == nil || b.info == nil || !a.modified.Equal(b.modified) || a.size != b.size || !os.SameFile(a.info, b.info) {
			return false
		}
	}
	return true
}

func openCertificate(certFile, keyFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// get is for tls.Config.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// read reads the files, if they are not those that are in use.
func (c *certificate) read() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	states, err := c.states()
	if err != nil {
		return fmt.Errorf("read the TLS certificate: %w", err)
	}
	if states.same(&c.loaded) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return &certificateError{states, fmt.Errorf("read the TLS certificate: %w", err)}
	}
	again := c.current.Swap(&pair) != nil
	c.loaded = states
	if again {
		c.logger.Info("TLS certificate read again", "expires", pair.Leaf.NotAfter)
	}
	if left := time.Until(pair.Leaf.NotAfter); left < 0 {
		c.logger.Warn("the TLS certificate has expired", "expires", pair.Leaf.NotAfter)
	}
	return nil
}

// certificateError is about files that are there and can't be used.
type certificateError struct {
	states fileStates
	err    error
}

func (e *certificateError) Error() string { return e.err.Error() }
func (e *certificateError) Unwrap() error { return e.err }

func (c *certificate) states() (fileStates, error) {
	var states fileStates
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return states, err
		}
		states[i].modified, states[i].size, states[i].info = info.ModTime(), info.Size(), info
	}
	return states, nil
}

// refresh reads the files again if they have changed, and logs what is wrong
// with them once for each change.
func (c *certificate) refresh() {
	err := c.read()
	var states fileStates
	if e, ok := err.(*certificateError); ok {
		states = e.states
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && (states[0].info == nil && c.broken[0].info != nil || !states.same(&c.broken)) {
		c.logger.Error("TLS certificate can't be read, the old one stays in use", "error", err)
	}
	c.broken = states
}

// watch calls refresh from time to time. Asking the system to tell would need
// a part for each system, and fails on network file systems.
func (c *certificate) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.refresh()
		}
	}
}

// tlsConfig returns how TLS is spoken.
func tlsConfig(c *certificate, minVersion string) *tls.Config {
	t := &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}
	if minVersion == config.TLS13 {
		t.MinVersion = tls.VersionTLS13
	}
	return t
}
