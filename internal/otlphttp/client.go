// Package otlphttp sends spans to an OpenTelemetry collector, as protobuf over
// HTTP. OpenTelemetry's own client has errors with the collector's URL and writes
// headers that it can't parse to a log of its own: either can hold a token.
package otlphttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	firstDelay    = 5 * time.Second
	maxDelay      = 30 * time.Second
	maxRetryTime  = time.Minute
	maxAnswerSize = 64 << 10
)

// Client implements [otlptrace.Client]. Its errors contain no header and no URL,
// because both may hold a token.
type Client struct {
	settings
	url  string
	http *http.Client

	stopped context.Context // ends uploads when the client is stopped
	stop    context.CancelFunc
}

var _ otlptrace.Client = (*Client)(nil)

// New returns a client that posts to url. It takes everything else from
// OpenTelemetry's standard environment variables, which getenv looks up.
func New(url string, getenv func(string) string) (*Client, error) {
	s, err := readSettings(getenv)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = s.tls
	c := &Client{settings: s, url: url, http: &http.Client{
		Transport: transport,
		Timeout:   s.timeout,
		// Elsewhere, the headers might reach someone they aren't meant for.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.stopped, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Start does nothing: each upload connects by itself.
func (c *Client) Start(context.Context) error { return nil }

// Stop ends uploads that are still running.
func (c *Client) Stop(context.Context) error {
	c.stop()
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces sends spans. While the collector is busy or slow, it tries again
// for up to a minute.
func (c *Client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// TracesData has the encoding of ExportTraceServiceRequest, whose package
	// imports gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if c.gzip {
		if body, err = compress(body); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.stopped, cancel)()

	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = firstDelay, maxDelay
	var last error // says more than the end of ctx
	_, _ = backoff.Retry(ctx, func() (struct{}, error) {
		last = c.post(ctx, body)
		return struct{}{}, last
	}, backoff.WithBackOff(delays), backoff.WithMaxElapsedTime(maxRetryTime))
	return last
}

// post makes one attempt. The type of its error tells [backoff.Retry] whether,
// and when, to make another.
func (c *Client) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(errors.New("the collector's URL is invalid"))
	}
	req.Header = c.header.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	if c.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if err = withoutURL(err); isTimeout(err) {
			return err
		}
		return backoff.Permanent(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerSize)) // the status is enough
	switch status := resp.StatusCode; {
	case status >= 200 && status < 300:
		if n := rejectedSpans(answer); n > 0 {
			return backoff.Permanent(fmt.Errorf("the collector rejected %d spans", n))
		}
		return nil
	case retryable(status):
		if d := retryAfter(resp.Header.Get("Retry-After")); d > 0 {
			return fmt.Errorf("%w: %w", statusError(status), &backoff.RetryAfterError{Duration: d})
		}
		return statusError(status)
	default:
		return backoff.Permanent(statusError(status))
	}
}

type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("the collector answered %d %s", int(e), http.StatusText(int(e)))
}

func retryable(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter returns 0 for a header that is missing, malformed or in the past:
// the client then waits as if there were none.
func retryAfter(header string) time.Duration {
	if n, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(header); err == nil {
		return min(time.Until(t), 2*maxRetryTime)
	}
	return 0
}

// rejectedSpans reads ExportTraceServiceResponse.partial_success.rejected_spans.
func rejectedSpans(answer []byte) int64 {
	partial, _ := field(answer, protowire.BytesType)
	_, n := field(partial, protowire.VarintType)
	return int64(n)
}

// field returns the value of a message's field 1, if it has the type.
func field(message []byte, want protowire.Type) (b []byte, n uint64) {
	for len(message) > 0 {
		number, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(number, kind, message[tag:])
		if size < 0 {
			break
		}
		if number == 1 && kind == want {
			b, _ = protowire.ConsumeBytes(message[tag:])
			n, _ = protowire.ConsumeVarint(message[tag:])
		}
		message = message[tag+size:]
	}
	return b, n
}

func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
