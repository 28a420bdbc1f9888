package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
)

// makeCertificate returns a certificate for 127.0.0.1 and its key, in PEM.
func makeCertificate(t testing.TB, serial int64, starts, expires time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "fluxkeep test"},
		NotBefore: starts, NotAfter: expires, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

type certificateFiles struct{ cert, key string }

// put replaces both files with a new certificate, which is valid now.
func (f certificateFiles) put(t testing.TB, serial int64) {
	t.Helper()
	f.putValid(t, serial, -time.Hour, time.Hour)
}

func (f certificateFiles) putValid(t testing.TB, serial int64, from, until time.Duration) {
	t.Helper()
	cert, key := makeCertificate(t, serial, time.Now().Add(from), time.Now().Add(until))
	replaceFile(t, f.cert, cert)
	replaceFile(t, f.key, key)
}

func replaceFile(t testing.TB, path string, b []byte) {
	t.Helper()
	write(t, path+".new", string(b))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func newCertificateFiles(t testing.TB) certificateFiles {
	t.Helper()
	dir := t.TempDir()
	f := certificateFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	f.put(t, 1)
	return f
}

func (c *certificate) serial() int64 { return c.current.Load().Leaf.SerialNumber.Int64() }

func TestCertificateReload(t *testing.T) {
	f := newCertificateFiles(t)
	log := new(logtest.Log)
	logger, _ := NewLogger(log, config.New())
	c, err := openCertificate(f.cert, f.key, logger)
	if err != nil {
		t.Fatal(err)
	}
	// refreshed refreshes three times, and expects each problem to be logged once.
	refreshed := func(step string, serial int64, logged string) {
		t.Helper()
		log.Reset()
		for range 3 {
			c.refresh()
		}
		if c.serial() != serial {
			t.Errorf("%s: certificate %d is in use, want %d", step, c.serial(), serial)
		}
		if text := log.String(); logged == "" && text != "" || strings.Count(text, "\n") > 1 || !strings.Contains(text, logged) || strings.Contains(text, "PRIVATE") {
			t.Errorf("%s: logged %q, want one line with %q", step, text, logged)
		}
	}
	refreshed("unchanged", 1, "")
	f.put(t, 2)
	refreshed("a new pair", 2, "read again")

	cert, key := makeCertificate(t, 3, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	replaceFile(t, f.cert, cert)
	refreshed("a certificate without its key", 2, "can't be used")
	replaceFile(t, f.key, key)
	refreshed("its key", 3, "read again")

	replaceFile(t, f.cert, []byte("nonsense"))
	refreshed("nonsense", 3, "can't be used")
	replaceFile(t, f.cert, []byte("nonsense"))
	refreshed("other nonsense", 3, "can't be used")
	replaceFile(t, f.cert, nil)
	refreshed("empty", 3, "can't be used")
	remove(t, f.cert)
	refreshed("missing", 3, "no such file")
	refreshed("still missing", 3, "")
	f.put(t, 4)
	refreshed("back", 4, "read again")
	remove(t, f.key)
	refreshed("missing again", 4, "no such file")
	f.put(t, 5)
	refreshed("a valid one", 5, "read again")

	f.putValid(t, 6, -2*time.Hour, -time.Hour)
	refreshed("expired", 5, "it expired at")
	f.putValid(t, 7, time.Hour, 2*time.Hour)
	refreshed("not valid yet", 5, "it is not valid before")
}

// A certificate that isn't valid yet is used once it is. An expired one is better
// than none, and any other is better than an expired one.
func TestCertificateValidity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCertificateFiles(t)
		f.putValid(t, 1, -time.Hour, 24*time.Hour)
		c, err := openCertificate(f.cert, f.key, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.watch(ctx, certificatePoll)
		after := func(d time.Duration, want int64) {
			t.Helper()
			time.Sleep(d + certificatePoll)
			synctest.Wait()
			if c.serial() != want {
				t.Errorf("%v later certificate %d is in use, want %d", d, c.serial(), want)
			}
		}
		f.putValid(t, 2, time.Hour, 2*time.Hour)
		after(time.Minute, 1)
		after(time.Hour, 2)
		f.putValid(t, 3, -2*time.Hour, -time.Hour)
		after(time.Minute, 2)
		after(time.Hour, 3) // both have expired
	})
}

func TestCertificateRefused(t *testing.T) {
	f := newCertificateFiles(t)
	other := newCertificateFiles(t)
	for name, files := range map[string]certificateFiles{
		"no certificate": {f.cert + ".not", f.key}, "no key": {f.cert, f.key + ".not"},
		"another's key": {f.cert, other.key}, "no PEM": {f.key, f.cert},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			_, err := tryStart(t, testConfig(t, dir, "--tls-cert="+files.cert, "--tls-key="+files.key))
			if err == nil || !strings.Contains(err.Error(), "TLS certificate") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Error("the data folder was created")
			}
		})
	}
}

func TestCertificateExpired(t *testing.T) {
	f := newCertificateFiles(t)
	f.putValid(t, 1, -2*time.Hour, -time.Hour)
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--tls-cert="+f.cert, "--tls-key="+f.key)
	if !strings.Contains(ts.log.String(), "clients will refuse the TLS certificate") {
		t.Errorf("logged %s", ts.log)
	}
}

func TestTLS(t *testing.T) {
	f := newCertificateFiles(t)
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--tls-cert="+f.cert, "--tls-key="+f.key, "--tls-min-version=1.3")
	connect := func(maxVersion uint16) (answer, int64, error) {
		t.Helper()
		pool := x509.NewCertPool()
		b, err := os.ReadFile(f.cert)
		if err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(b)
		var serial int64
		ts.client = &http.Client{Timeout: patience, Transport: &http.Transport{
			ForceAttemptHTTP2: true, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: maxVersion, VerifyConnection: func(s tls.ConnectionState) error {
				serial = s.PeerCertificates[0].SerialNumber.Int64()
				return nil
			}},
		}}
		a, err := ts.try("GET", "/health", "")
		return a, serial, err
	}
	a, serial, err := connect(0)
	if err != nil || a.status != 200 || serial != 1 {
		t.Fatalf("answered %d with certificate %d, %v", a.status, serial, err)
	}
	if a.header.Get("Strict-Transport-Security") != "" {
		t.Error("Strict-Transport-Security was sent without --hsts")
	}
	if _, _, err := connect(tls.VersionTLS12); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	f.put(t, 2)
	ts.Reload()
	if a, serial, err = connect(0); err != nil || serial != 2 {
		t.Errorf("after a reload: certificate %d, %v", serial, err)
	}
	if metrics := ts.do(t, "GET", "/metrics", "").body; !strings.Contains(metrics, "fluxkeep_tls_certificate_expiry_timestamp_seconds 1.") {
		t.Error("no metric has the certificate's expiry")
	}
	// Over HTTP/2 too, requests in flight are finished.
	ts.setUp(t)
	ts.putSecret(t, "a", "b")
	ts.stop(t)
}
