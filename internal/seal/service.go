package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	serviceTimeout   = 30 * time.Second
	maxServiceAnswer = 1 << 20
)

// serviceClient returns a copy of c that does not follow redirects, which
// would send the credential and the document key to another host. If c is nil,
// the client has a timeout.
func serviceClient(c *http.Client) *http.Client {
	client := http.Client{Timeout: serviceTimeout}
	if c != nil {
		client = *c
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// newRequest is http.NewRequestWithContext, but its errors don't repeat the address, which
// may contain a password.
func newRequest(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, errors.New("the service's address is not a valid URL")
	}
	return req, nil
}

// exchange sends a request and reads the whole response. It can contain a key,
// so the caller must clear it.
func exchange(c *http.Client, r *http.Request) (*http.Response, []byte, error) {
	resp, err := c.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxServiceAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the response: %w", err)
	}
	if len(text) > maxServiceAnswer {
		clear(text)
		return nil, nil, errors.New("the response is too large")
	}
	return resp, text, nil
}

// redirectError suggests the address to configure.
func redirectError(resp *http.Response) error {
	host := ""
	if u, err := resp.Location(); err == nil {
		host = u.Host
	}
	return fmt.Errorf("the service redirects to host %q (status %d); use that address instead", host, resp.StatusCode)
}

func isRedirect(resp *http.Response) bool { return resp.StatusCode >= 300 && resp.StatusCode < 400 }
