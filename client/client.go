package client

import (
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

// Config says where the server is and who asks.
type Config struct {
	// URL is the server's address, with a path if it stands behind one:
	// http://localhost:8086. Required.
	URL string
	// Token is sent with every request. Without one there is little that a
	// server answers: setting it up, and signing in.
	Token string
	// TLS is for https; nil means the system's roots. It is not used with an
	// HTTPClient.
	TLS *tls.Config
	// HTTPClient is used instead of one of the package's own, for proxies,
	// tracing or tests. It is never made to follow redirects, which could
	// carry a token to another host.
	HTTPClient *http.Client
	// UserAgent names the program; "fluxkeep-client" by default.
	UserAgent string
}

// Client talks to one server. Its methods may be called by several goroutines
// at once.
type Client struct {
	base  *url.URL
	token string
	agent string
	http  *http.Client

	mu      sync.Mutex
	session *http.Cookie // of SignIn
}

// New makes a client. It sends nothing.
func New(c Config) (*Client, error) {
	base, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token has a character that no token has, such as a space or a line break")
	}
	out := &Client{base: base, token: c.Token, agent: c.UserAgent}
	if out.agent == "" {
		out.agent = "fluxkeep-client"
	}
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
		return nil, errors.New("the server's URL is missing")
	case err != nil:
		// The error of net/url repeats the text, which may hold a password.
		return nil, errors.New("the server's URL can't be read: it has the form http://host:port")
	case u.User != nil:
		return nil, errors.New("the server's URL must not hold a user or a password: use a token")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the server's URL %q must begin with http:// or https://", s)
	case u.Host == "":
		return nil, fmt.Errorf("the server's URL %q has no host", s)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the server's URL %q must have no query and no fragment", u.Scheme+"://"+u.Host)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// newTransport bounds what may hang without an answer. Requests themselves are
// bounded by their contexts: some wait for a change by intention.
func newTransport(config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       config,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 5 * time.Minute, // a large import takes its time
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   8,
	}
}

// URL returns the server's address.
func (c *Client) URL() string { return c.base.String() }

// String names the client's server, and so keeps the token out of logs.
func (c *Client) String() string { return "client of " + c.URL() }

// GoString returns what String returns.
func (c *Client) GoString() string { return c.String() }
