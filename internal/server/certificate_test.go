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
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/config"
)

// makeCertificate returns a certificate for 127.0.0.1 and its key, in PEM.
func makeCertificate(t testing.TB, serial int64, expires time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "fluxkeep test"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: expires, IsCA: true, BasicConstraintsValid: true,
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

// put writes a new certificate into both files, each at once.
func (f certificateFiles) put(t testing.TB, serial int64) {
	t.Helper()
	cert, key := makeCertificate(t, serial, time.Now().Add(time.Hour))
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
	log := new(syncBuffer)
	logger, _ := NewLogger(log, config.New())
	c, err := openCertificate(f.cert, f.key, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { c.watch(ctx, 5*time.Millisecond); close(ended) }()

	f.put(t, 2)
	eventually(t, "the new certificate", func() bool { return c.serial() == 2 })

	// A certificate without its key yet: the old pair stays, and that is said
	// once.
	cert, key := makeCertificate(t, 3, time.Now().Add(time.Hour))
	before := strings.Count(log.String(), "can't be read")
	replaceFile(t, f.cert, cert)
	eventually(t, "a complaint", func() bool { return strings.Count(log.String(), "can't be read") > before })
	time.Sleep(50 * time.Millisecond)
	if n := strings.Count(log.String(), "can't be read"); n != before+1 {
		t.Errorf("%d complaints about one change: %s", n-before, log)
	}
	if c.serial() != 2 {
		t.Errorf("certificate %d is in use", c.serial())
	}
	replaceFile(t, f.key, key)
	eventually(t, "the new pair", func() bool { return c.serial() == 3 })

	for name, broken := range map[string]func(){
		"nonsense": func() { replaceFile(t, f.cert, []byte("nonsense")) },
		"empty":    func() { replaceFile(t, f.cert, nil) },
		"gone":     func() { remove(t, f.cert) },
	} {
		before := strings.Count(log.String(), "can't be read")
		broken()
		eventually(t, name+": a complaint", func() bool { return strings.Count(log.String(), "can't be read") > before })
		if c.serial() != 3 {
			t.Errorf("%s: certificate %d is in use", name, c.serial())
		}
		f.put(t, 3)
		eventually(t, "no trouble", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.broken == fileStates{} })
	}
	cancel()
	<-ended
	if strings.Contains(log.String(), "PRIVATE") {
		t.Errorf("the log holds a key: %s", log)
	}
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
				t.Error("the data folder was made")
			}
		})
	}
}

func TestCertificateExpired(t *testing.T) {
	f := newCertificateFiles(t)
	cert, key := makeCertificate(t, 1, time.Now().Add(-time.Hour))
	replaceFile(t, f.cert, cert)
	replaceFile(t, f.key, key)
	ts := start(t, filepath.Join(t.TempDir(), "data"), "--tls-cert="+f.cert, "--tls-key="+f.key)
	if !strings.Contains(ts.log.String(), "certificate has expired") {
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
	if a.header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security")
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
		t.Error("no metric says when the certificate expires")
	}
	// Over HTTP/2 too, requests in flight are finished.
	ts.setUp(t)
	ts.putSecret(t, "a", "b")
	ts.stop(t)
}
