package client

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config holds the server's address and the caller's credentials.
type Config struct {
	// URL is the server's address, such as http://localhost:8086, including
	// the path if the server is behind one. Required.
	URL string
	// Token is sent with every request. Without a token, only setup and
	// sign-in work.
	Token string
	// TLS configures https; nil uses the system's root certificates. It is
	// ignored if HTTPClient is set.
	TLS *tls.Config
	// HTTPClient replaces the package's own client, for proxies, tracing or
	// tests. It never follows redirects, since a redirect could send the token
	// to another host.
	HTTPClient *http.Client
	// UserAgent identifies the program; the default is "fluxkeep-client".
	UserAgent string
}

// Client talks to one server. Its methods are safe for concurrent use.
type Client struct {
	base  *url.URL
	token string
	agent string
	http  *http.Client

	mu      sync.Mutex
	session *http.Cookie // from SignIn
}

// New returns a client. It sends no request.
func New(c Config) (*Client, error) {
	base, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token contains a character that tokens never contain, such as a space or a line break")
	}
	out := &Client{base: base, token: c.Token, agent: cmp.Or(c.UserAgent, "fluxkeep-client")}
	h := http.Client{Transport: newTransport(c.TLS)}
	if c.HTTPClient != nil {
		h = *c.HTTPClient
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	out.http = &h
	return out, nil
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil, errors.New("the server URL is missing")
	case err != nil:
		// The error from net/url repeats the URL, which may contain a
		// password.
		return nil, errors.New("the server URL is invalid; use the form http://host:port")
	case u.User != nil || u.Host == "" && strings.Contains(s, "@"): // without "//", as in ann:password@host
		return nil, errors.New("the server URL must not contain a user name or a password; use a token")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the server URL %q must start with http:// or https://", s)
	case u.Host == "":
		return nil, fmt.Errorf("the server URL %q has no host", s)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the server URL %q must not have a query or a fragment", u.Scheme+"://"+u.Host)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// newTransport limits how long a connection can hang. Contexts limit whole
// requests, because some wait for a change by design.
func newTransport(config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       config,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 5 * time.Minute, // a large import can take minutes
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   8,
	}
}

// URL returns the server's address.
func (c *Client) URL() string { return c.base.String() }

// String names the client's server. It keeps the token out of logs.
func (c *Client) String() string { return "client of " + c.URL() }

// GoString returns the same text as String.
func (c *Client) GoString() string { return c.String() }
