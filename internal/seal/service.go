package seal

import (
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

// serviceClient returns a copy of c, or of a client with a timeout when c is nil, that doesn't follow redirects: the
// credential and the document key would go wherever the answer points.
func serviceClient(c *http.Client) *http.Client {
	client := http.Client{Timeout: serviceTimeout}
	if c != nil {
		client = *c
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// exchange sends a request and reads the whole answer, which can hold a key: the caller clears it.
func exchange(c *http.Client, r *http.Request) (*http.Response, []byte, error) {
	resp, err := c.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxServiceAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(text) > maxServiceAnswer {
		clear(text)
		return nil, nil, errors.New("the answer is too large")
	}
	return resp, text, nil
}

// redirectError tells the operator which address to configure instead.
func redirectError(resp *http.Response) error {
	host := ""
	if u, err := resp.Location(); err == nil {
		host = u.Host
	}
	return fmt.Errorf("the answer is a redirect to host %q (status %d): give that address instead", host, resp.StatusCode)
}

func isRedirect(resp *http.Response) bool { return resp.StatusCode >= 300 && resp.StatusCode < 400 }
