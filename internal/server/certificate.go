package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// certificate is the server's TLS certificate. It is reloaded when one of its files
// changes. Unusable files, such as a new certificate without its key, are ignored.
// So is a certificate outside its validity period while the current one is valid.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger
	current           atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // serializes reads
	loaded fileStates // of the files that current was read from
	failed failure    // the last one logged, zero if there is none
}

// fileStates identifies the contents of both files without reading them. It follows
// symbolic links, with which some tools replace both files. The state of a missing
// file is zero.
type fileStates [2]struct {
	modified time.Time
	size     int64
	info     fs.FileInfo
}

func (s *fileStates) same(t *fileStates) bool {
	for i := range s {
		a, b := &s[i], &t[i]
		if a.info == nil || b.info == nil {
			if a.info != b.info {
				return false
			}
			continue
		}
		if !a.modified.Equal(b.modified) || a.size != b.size || !os.SameFile(a.info, b.info) {
			return false
		}
	}
	return true
}

// failure is the reason why files can't be used.
type failure struct {
	files fileStates
	text  string
}

func openCertificate(certFile, keyFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if _, err := c.read(); err != nil {
		return nil, fmt.Errorf("read the TLS certificate: %w", err)
	}
	return c, nil
}

// get is for tls.Config.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// read reads the files unless they are already in use. It also returns their
// states.
func (c *certificate) read() (fileStates, error) {
	states, err := c.states()
	if err != nil || states.same(&c.loaded) {
		return states, err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return states, err
	}
	now := time.Now()
	invalid := checkPeriod(pair.Leaf, now)
	old := c.current.Load()
	if invalid != nil && old != nil && checkPeriod(old.Leaf, now) == nil {
		return states, invalid
	}
	c.current.Store(&pair)
	c.loaded = states
	if old != nil {
		c.logger.Info("TLS certificate read again", "expires", pair.Leaf.NotAfter)
	}
	if invalid != nil {
		c.logger.Warn("clients will refuse the TLS certificate", "error", invalid)
	}
	return states, nil
}

// checkPeriod returns an error unless the certificate is valid at the time.
func checkPeriod(leaf *x509.Certificate, at time.Time) error {
	switch {
	case at.Before(leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s", leaf.NotBefore.Format(time.RFC3339))
	case at.After(leaf.NotAfter):
		return fmt.Errorf("it expired at %s", leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}

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

// refresh reloads the files if they have changed, and logs an error once for each
// change.
func (c *certificate) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	states, err := c.read()
	if err == nil {
		c.failed = failure{}
		return
	}
	failed := failure{states, err.Error()}
	if failed.text != c.failed.text || !failed.files.same(&c.failed.files) {
		c.logger.Error("TLS certificate can't be used, the old one stays in use", "error", err)
	}
	c.failed = failed
}

// watch calls refresh periodically. File notifications would need code for each
// operating system, and don't work on network file systems.
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

// tlsConfig returns the server's TLS configuration.
func tlsConfig(c *certificate, minVersion string) *tls.Config {
	t := &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12}
	if minVersion == config.TLS13 {
		t.MinVersion = tls.VersionTLS13
	}
	return t
}
