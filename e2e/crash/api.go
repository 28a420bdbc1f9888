package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// api is a client of one life of the server.
type api struct {
	url   string
	token string
	http  *http.Client
}

func newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128, MaxIdleConns: 256}, Timeout: patience}
}

// answer is the response to a request; err is set if none or only part of it
// arrived.
type answer struct {
	status  int // 0 if there was no response
	request string
	etag    string
	header  http.Header
	body    []byte
	err     error
}

func (a *api) do(ctx context.Context, method, path string, in any, header ...string) answer {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return answer{err: err}
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return answer{err: err}
	}
	if strings.HasPrefix(path, "/api/") {
		q.Header.Set("Authorization", "Token "+a.token)
	} else {
		q.Header.Set("X-Vault-Token", a.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	r, err := a.http.Do(q)
	if err != nil {
		return answer{err: err}
	}
	defer r.Body.Close()
	out := answer{status: r.StatusCode, request: r.Header.Get("X-Request-Id"), etag: r.Header.Get("ETag"), header: r.Header}
	out.body, out.err = io.ReadAll(r.Body)
	return out
}

// in decodes the body of a successful answer.
func (a answer) in(v any) error {
	switch {
	case a.err != nil:
		return a.err
	case a.status < 200 || a.status > 299:
		return fmt.Errorf("status %d: %s", a.status, a.body)
	case v == nil:
		return nil
	}
	return json.Unmarshal(a.body, v)
}

// Paths of an organization.

func influxPath(org string, more ...string) string {
	p := "/api/v2/orgs/" + org + "/secrets"
	for _, m := range more {
		p += "/" + url.PathEscape(m)
	}
	return p
}

const (
	vaultKV = "/v1/secret"
	influxd = "/influxd/v1/secret"
)

// document is the content that a version shows.
type document struct {
	version uint64
	hidden  bool // it is deleted, so its content is not shown
	secrets map[string]string
}

// documentOf decodes the answer to a KV read. ok is false if there is no
// document.
func documentOf(a answer) (d document, ok bool, err error) {
	if a.err != nil {
		return d, false, a.err
	}
	var body struct {
		Data struct {
			Data     map[string]string
			Metadata struct {
				Version  uint64
				Deletion string `json:"deletion_time"`
			}
		}
	}
	if a.status != http.StatusOK && a.status != http.StatusNotFound {
		return d, false, fmt.Errorf("status %d: %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return d, false, fmt.Errorf("status %d: %q is not JSON", a.status, a.body)
	}
	d = document{body.Data.Metadata.Version, a.status == http.StatusNotFound, body.Data.Data}
	if d.version == 0 && !d.hidden {
		return d, false, fmt.Errorf("a document without a version: %s", a.body)
	}
	if d.version != 0 && d.hidden != (body.Data.Metadata.Deletion != "") {
		return d, false, fmt.Errorf("status %d with deletion time %q", a.status, body.Data.Metadata.Deletion)
	}
	return d, d.version != 0, nil
}

// valuesOf decodes the answer to a read of values. Its ETag contains the
// version, and whether that is shown.
func valuesOf(a answer) (d document, err error) {
	if err := a.in(&d.secrets); err != nil {
		return d, err
	}
	parts := strings.Split(strings.Trim(a.etag, `"`), ".")
	if len(parts) != 3 {
		return d, fmt.Errorf("the ETag is %q", a.etag)
	}
	d.version, err = strconv.ParseUint(parts[1], 10, 64)
	d.hidden = parts[2] == "0"
	return d, err
}

// unavailable checks that an answer is a 503 in the protocol's own format.
func unavailable(path string, a answer) error {
	if a.status != http.StatusServiceUnavailable {
		return fmt.Errorf("status %d", a.status)
	}
	if strings.HasPrefix(path, "/api/") {
		var body struct{ Code, Message string }
		if json.Unmarshal(a.body, &body) != nil || body.Code != "unavailable" || body.Message == "" ||
			a.header.Get("X-Platform-Error-Code") != "unavailable" {
			return fmt.Errorf("a 503 that is not InfluxDB's: %s", a.body)
		}
		return nil
	}
	var body struct{ Errors []string }
	if json.Unmarshal(a.body, &body) != nil || len(body.Errors) != 1 || body.Errors[0] == "" {
		return fmt.Errorf("a 503 that is not Vault's: %s", a.body)
	}
	return nil
}

// stuck reports whether a request ran into its time limit.
func stuck(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// eventually calls fn until it returns nil.
func eventually(ctx context.Context, what string, fn func() error) error {
	end := time.Now().Add(patience)
	for {
		err := fn()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s, still not %s: %w", patience, what, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
