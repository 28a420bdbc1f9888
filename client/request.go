package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxAttempts = 4
	firstDelay  = 250 * time.Millisecond
	maxDelay    = 30 * time.Second // no retry if the server asks for more
	// A server that refused only after this time has waited for its store itself, so
	// that a retry is unlikely to help.
	slowRefusal = 2 * time.Second
)

// call is one request.
type call struct {
	method string
	path   string // relative to the server's URL, escaped
	query  url.Values
	header http.Header
	in     any       // sent as JSON, unless nil
	out    any       // read from JSON, unless nil
	to     io.Writer // receives the answer unchanged, unless nil
	// once means that the request must not be retried, because repeating it
	// would have another effect.
	once bool
	// accept is a status other than 2xx that is not an error.
	accept   int
	progress func(sent, total int64)
	basic    *basicAuth // instead of the token
}

type basicAuth struct{ user, password string }

// answer holds what callers need from a response besides its body.
type answer struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
}

// do sends a request, with retries, and reads the answer.
func (c *Client) do(ctx context.Context, r call) (answer, error) {
	var body []byte
	if r.in != nil {
		var err error
		if body, err = encode(r.in); err != nil {
			return answer{}, err
		}
	}
	for attempt := 1; ; attempt++ {
		begin := time.Now()
		a, err := c.try(ctx, &r, body)
		refused, ok := errors.AsType[*Error](err)
		if r.once || attempt == maxAttempts || time.Since(begin) > slowRefusal || !ok || !refused.temporary() {
			return a, err
		}
		wait := cmp.Or(refused.RetryAfter, jitter(firstDelay<<(attempt-1)))
		if deadline, ok := ctx.Deadline(); wait > maxDelay || ok && time.Until(deadline) < wait {
			return a, err
		}
		if sleep(ctx, wait) != nil {
			return a, err
		}
	}
}

// encode writes JSON without HTML escapes, which would make a large import
// larger.
func encode(v any) ([]byte, error) {
	if err := checkText(reflect.ValueOf(v)); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return b.Bytes(), nil
}

func (e *Error) temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable
}

// jitter spreads out retries, so that waiting clients do not all return at
// once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (c *Client) try(ctx context.Context, r *call, body []byte) (answer, error) {
	progress, stop := stoppable(r.progress)
	defer stop()
	req, err := c.request(ctx, r, body, progress)
	if err != nil {
		return answer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	defer resp.Body.Close()
	a := answer{resp.StatusCode, resp.Header, resp.Cookies()}
	if resp.StatusCode != r.accept && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		return a, c.refusal(resp)
	}
	if r.to != nil {
		return a, c.copy(r.to, resp.Body)
	}
	if r.out == nil || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody)) // so that the connection can be reused
		return a, nil
	}
	return a, c.decode(resp.Body, r.out)
}

func (c *Client) request(ctx context.Context, r *call, body []byte, progress func(sent, total int64)) (*http.Request, error) {
	u := *c.base
	raw := c.base.EscapedPath() + r.path
	plain, err := url.PathUnescape(raw)
	if err != nil {
		return nil, fmt.Errorf("build the request path: %w", err)
	}
	u.Path, u.RawPath, u.RawQuery = plain, raw, r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("build the request: %w", err)
	}
	if body != nil {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return newBody(body, progress), nil }
		req.Body, _ = req.GetBody()
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	for name, values := range r.header {
		req.Header[name] = values
	}
	c.authenticate(req, r)
	return req, nil
}

func (c *Client) authenticate(req *http.Request, r *call) {
	switch session := c.signedIn(); {
	case r.basic != nil:
		req.SetBasicAuth(r.basic.user, r.basic.password)
		if session != nil {
			req.AddCookie(session)
		}
	case session != nil:
		req.AddCookie(session)
	case c.token != "":
		req.Header.Set("Authorization", "Token "+c.token)
	}
}

// stoppable returns a function that calls progress until stop is called: a transport may
// still read the body of a request that has its answer.
func stoppable(progress func(sent, total int64)) (call func(sent, total int64), stop func()) {
	if progress == nil {
		return nil, func() {}
	}
	var mu sync.Mutex
	stopped := false
	call = func(sent, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			progress(sent, total)
		}
	}
	return call, func() { mu.Lock(); defer mu.Unlock(); stopped = true }
}

// newBody returns a reader of data that reports how much has been read.
func newBody(data []byte, progress func(sent, total int64)) io.ReadCloser {
	if progress == nil {
		return io.NopCloser(bytes.NewReader(data))
	}
	return &countingBody{r: bytes.NewReader(data), total: int64(len(data)), progress: progress}
}

type countingBody struct {
	r        *bytes.Reader
	total    int64
	progress func(sent, total int64)
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.progress(b.total-int64(b.r.Len()), b.total)
	return n, err
}

func (b *countingBody) Close() error { return nil }

// unreachable is the error of a request that got no answer. It omits the path
// and the query, which contain names of secrets.
func (c *Client) unreachable(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("request to %s: %w", c.URL(), err)
}

// errAnswer replaces encoding/json's error, which can quote the answer.
var errAnswer = errors.New("the answer is not from a Fluxkeep server")

func (c *Client) decode(body io.Reader, out any) error {
	b := &failingReader{r: body}
	if err := json.NewDecoder(b).Decode(out); err != nil {
		if b.err != nil {
			return fmt.Errorf("read the answer from %s: %w", c.URL(), b.err)
		}
		return fmt.Errorf("request to %s: %w", c.URL(), errAnswer)
	}
	return nil
}

// copy copies an answer that is not JSON.
func (c *Client) copy(to io.Writer, body io.Reader) error {
	b := &failingReader{r: body}
	_, err := io.Copy(to, b)
	if b.err != nil {
		return fmt.Errorf("read the answer from %s: %w", c.URL(), b.err)
	}
	return err
}

// failingReader remembers the connection's error, to tell it from the
// decoder's.
type failingReader struct {
	r   io.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// path joins segments to a path under /api/v2. An empty segment is an error:
// it would address something else.
func path(segments ...string) (string, error) {
	var b strings.Builder
	b.WriteString("/api/v2")
	for _, s := range segments {
		if s == "" {
			return "", &Error{Status: http.StatusBadRequest, Code: ErrEmptyValue, Message: "an ID or a name is empty"}
		}
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String(), nil
}

// get reads one resource.
func (c *Client) get(ctx context.Context, out any, query url.Values, segments ...string) error {
	return c.send(ctx, call{method: http.MethodGet, query: query, out: out}, segments...)
}

// send is do for calls that need only the body of the answer.
func (c *Client) send(ctx context.Context, r call, segments ...string) error {
	p, err := path(segments...)
	if err != nil {
		return err
	}
	r.path = p
	_, err = c.do(ctx, r)
	return err
}

// get is Client.get for an answer of type T.
func get[T any](ctx context.Context, c *Client, query url.Values, segments ...string) (out T, err error) {
	err = c.get(ctx, &out, query, segments...)
	return out, err
}

// send is Client.send for an answer of type T.
func send[T any](ctx context.Context, c *Client, r call, segments ...string) (out T, err error) {
	r.out = &out
	err = c.send(ctx, r, segments...)
	return out, err
}

const pageSize = 100 // InfluxDB's largest

// pages reads a list to its end. read fetches one page with the given query
// and returns its number of entries.
func pages(query url.Values, read func(url.Values) (int, error)) error {
	if query == nil {
		query = url.Values{}
	}
	for offset := 0; ; {
		query.Set("limit", fmt.Sprint(pageSize))
		query.Set("offset", fmt.Sprint(offset))
		n, err := read(query)
		if err != nil || n < pageSize {
			return err
		}
		offset += n
	}
}

// values builds a query from names and values, omitting empty values.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	return q
}
