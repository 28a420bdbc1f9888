package otlphttp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
)

const defaultTimeout = 10 * time.Second

// settings come from OpenTelemetry's environment variables.
type settings struct {
	header  http.Header
	gzip    bool
	timeout time.Duration
	tls     *tls.Config
}

// readSettings names the variable in its errors, and never repeats headers, which
// may hold a token.
func readSettings(getenv func(string) string) (settings, error) {
	s := settings{
		header:  http.Header{"User-Agent": {"OTel OTLP Exporter Go/" + otlptrace.Version()}},
		timeout: defaultTimeout,
		tls:     new(tls.Config),
	}
	for _, variable := range []struct {
		name string
		set  func(value string) error
	}{
		{"HEADERS", s.setHeaders},
		{"COMPRESSION", s.setCompression},
		{"TIMEOUT", s.setTimeout},
		{"CERTIFICATE", s.setRootCertificates},
	} {
		if name, value := lookUp(getenv, variable.name); value != "" {
			if err := variable.set(value); err != nil {
				return settings{}, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	certName, cert := lookUp(getenv, "CLIENT_CERTIFICATE")
	_, key := lookUp(getenv, "CLIENT_KEY")
	if cert != "" && key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return settings{}, fmt.Errorf("%s: %w", certName, err)
		}
		s.tls.Certificates = []tls.Certificate{pair}
	}
	return s, nil
}

// lookUp prefers the variable for traces to the one for all signals.
func lookUp(getenv func(string) string, name string) (variable, value string) {
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"} {
		variable = prefix + name
		if value = strings.TrimSpace(getenv(variable)); value != "" {
			break
		}
	}
	return variable, value
}

// setHeaders reads name=value pairs separated by commas, with values that are
// percent-encoded.
func (s *settings) setHeaders(list string) error {
	for pair := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || !isToken(name) || err != nil || strings.ContainsFunc(decoded, unicode.IsControl) {
			return errors.New("must be a list such as name=value,name2=value2, with percent-encoded values")
		}
		s.header.Set(name, decoded)
	}
	return nil
}

// isToken reports whether HTTP allows name as the name of a header.
func isToken(name string) bool {
	const chars = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return name != "" && strings.Trim(name, chars) == ""
}

func (s *settings) setCompression(name string) error {
	s.gzip = name == "gzip"
	if !s.gzip && name != "none" {
		return errors.New("must be gzip or none")
	}
	return nil
}

func (s *settings) setTimeout(milliseconds string) error {
	n, err := strconv.ParseUint(milliseconds, 10, 31)
	if err != nil {
		return errors.New("must be a number of milliseconds")
	}
	s.timeout = time.Duration(n) * time.Millisecond
	return nil
}

func (s *settings) setRootCertificates(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	s.tls.RootCAs = x509.NewCertPool()
	if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s", file)
	}
	return nil
}
