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

// Code is the kind of an error, as named in InfluxDB's API description. Codes
// are errors, for use with errors.Is.
type Code string

// Error implements error, so that errors.Is accepts a Code.
func (c Code) Error() string { return string(c) }

// The codes that a server can return.
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
	// ErrChanged means that the secrets changed after they were read, so a
	// write with IfMatch did nothing.
	ErrChanged Code = "precondition failed"
)

// Error is the server's refusal of a request.
type Error struct {
	Status  int // the HTTP status
	Code    Code
	Message string
	// RetryAfter is how long the server asks the client to wait, or 0.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("%s (status %d)", e.Code, e.Status)
	}
	return e.Message
}

// Is reports whether target is the error's Code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// codes maps a status to a code, for answers without one: a proxy between
// client and server sends its own kind of answer.
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

// maxErrorBody limits how much of an error's body is read.
const maxErrorBody = 64 << 10

// refusal reads an error from an answer.
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
	// A failed precondition always has the same code, whatever code was sent.
	if e.Code == "" || resp.StatusCode == http.StatusPreconditionFailed {
		e.Code = codes[resp.StatusCode]
	}
	switch {
	case resp.StatusCode == http.StatusBadRequest && strings.HasPrefix(string(data), "Client sent an HTTP request to an HTTPS server"):
		// net/http sends this when it expected TLS.
		e.Message = "the server uses TLS; its URL must start with https://"
	case e.Code == "" && resp.StatusCode >= 300 && resp.StatusCode < 400:
		e.Code = ErrInvalid
		e.Message = "the server redirects to " + location(resp) + "; the client does not follow redirects"
	case e.Code == "":
		e.Code = ErrInternal
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("the server returned %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return e
}

func location(resp *http.Response) string {
	if u, err := resp.Location(); err == nil {
		return u.Scheme + "://" + u.Host
	}
	return "another place"
}

// hide removes the client's token from a text: a server or proxy may repeat
// what it was sent.
func (c *Client) hide(text string) string {
	if c.token == "" {
		return text
	}
	return strings.ReplaceAll(text, c.token, "[token]")
}

// retryAfter reads the Retry-After header, which holds seconds or a date.
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
