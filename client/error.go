package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code is the kind of an error, in the words of InfluxDB's API description.
// The codes are errors, to be used with errors.Is.
type Code string

// Error makes a Code something that errors.Is takes.
func (c Code) Error() string { return string(c) }

// The codes that a server answers with.
const (
	ErrInternal             Code = "internal error"
	ErrNotImplemented       Code = "not implemented"
	ErrNotFound             Code = "not found"
	ErrConflict             Code = "conflict"
	ErrInvalid              Code = "invalid"
	ErrUnprocessable        Code = "unprocessable entity"
	ErrEmptyValue           Code = "empty value"
	ErrUnavailable          Code = "unavailable"
	ErrForbidden            Code = "forbidden"
	ErrTooManyRequests      Code = "too many requests"
	ErrUnauthorized         Code = "unauthorized"
	ErrMethodNotAllowed     Code = "method not allowed"
	ErrRequestTooLarge      Code = "request too large"
	ErrUnsupportedMediaType Code = "unsupported media type"
	// ErrChanged says that a write with IfMatch came too late: somebody else
	// has changed the secrets since they were read.
	ErrChanged Code = "precondition failed"
)

// Error is what the server answers when it refuses a request.
type Error struct {
	Status  int // of HTTP
	Code    Code
	Message string
	// RetryAfter is how long the server asks to wait, 0 when it does not say.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("%s (status %d)", e.Code, e.Status)
	}
	return e.Message
}

// Is makes an Error equal to its Code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// codes has the code for a status, when the answer has none of its own: what
// stands between client and server answers in its own way.
var codes = map[int]Code{
	http.StatusBadRequest:            ErrInvalid,
	http.StatusUnauthorized:          ErrUnauthorized,
	http.StatusForbidden:             ErrForbidden,
	http.StatusNotFound:              ErrNotFound,
	http.StatusMethodNotAllowed:      ErrMethodNotAllowed,
	http.StatusConflict:              ErrConflict,
	http.StatusPreconditionFailed:    ErrChanged,
	http.StatusRequestEntityTooLarge: ErrRequestTooLarge,
	http.StatusUnsupportedMediaType:  ErrUnsupportedMediaType,
	http.StatusUnprocessableEntity:   ErrUnprocessable,
	http.StatusTooManyRequests:       ErrTooManyRequests,
	http.StatusNotImplemented:        ErrNotImplemented,
	http.StatusServiceUnavailable:    ErrUnavailable,
}

// maxErrorBody bounds what is read of an answer that is an error.
const maxErrorBody = 64 << 10

// refusal reads an answer that is no success.
func (c *Client) refusal(resp *http.Response) *Error {
	var body struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if json.Unmarshal(data, &body) != nil {
		body.Code, body.Message = "", ""
	}
	e := &Error{Status: resp.StatusCode, Code: body.Code, Message: c.hide(body.Message), RetryAfter: retryAfter(resp.Header, time.Now())}
	if e.Code == "" {
		e.Code = Code(resp.Header.Get("X-Platform-Error-Code"))
	}
	// One condition has one code, however the server names it.
	if e.Code == "" || resp.StatusCode == http.StatusPreconditionFailed {
		e.Code = codes[resp.StatusCode]
	}
	switch {
	case resp.StatusCode == http.StatusBadRequest && strings.HasPrefix(string(data), "Client sent an HTTP request to an HTTPS server"):
		// What net/http says where TLS is expected.
		e.Message = "the server speaks TLS: its URL must begin with https://"
	case e.Code == "" && resp.StatusCode >= 300 && resp.StatusCode < 400:
		e.Code = ErrInvalid
		e.Message = "the server redirects to " + location(resp) + "; a token is not sent there"
	case e.Code == "":
		e.Code = ErrInternal
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("the server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return e
}

func location(resp *http.Response) string {
	if u, err := resp.Location(); err == nil {
		return u.Scheme + "://" + u.Host
	}
	return "another place"
}

// hide takes the client's token out of a text: a server, or what stands before
// it, may repeat what it was sent.
func (c *Client) hide(text string) string {
	if c.token == "" {
		return text
	}
	return strings.ReplaceAll(text, c.token, "[token]")
}

// retryAfter reads the Retry-After header: seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
