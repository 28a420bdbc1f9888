package influxv2

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// CodeMethodNotAllowed is of InfluxDB's API, and the domain has no use for it.
const CodeMethodNotAllowed keep.Code = "method not allowed"

// Further codes that only the protocol has. All but the last are InfluxDB's;
// that one answers a write with If-Match that came too late.
const (
	codeNotImplemented keep.Code = "not implemented"
	codeMediaType      keep.Code = "unsupported media type"
	codePrecondition   keep.Code = "precondition failed"
)

// statusOf is the one place where codes become statuses.
func statusOf(code keep.Code) int {
	switch code {
	case keep.CodeInvalid, keep.CodeEmptyValue:
		return http.StatusBadRequest
	case keep.CodeUnauthorized:
		return http.StatusUnauthorized
	case keep.CodeForbidden:
		return http.StatusForbidden
	case keep.CodeNotFound:
		return http.StatusNotFound
	case CodeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case codePrecondition:
		return http.StatusPreconditionFailed
	case keep.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeMediaType:
		return http.StatusUnsupportedMediaType
	case keep.CodeConflict, keep.CodeUnprocessable:
		return http.StatusUnprocessableEntity
	case keep.CodeTooMany:
		return http.StatusTooManyRequests
	case codeNotImplemented:
		return http.StatusNotImplemented
	case keep.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// codes lists all codes that an answer can have.
func codes() []keep.Code {
	return []keep.Code{
		keep.CodeInternal, codeNotImplemented, keep.CodeNotFound, keep.CodeConflict, keep.CodeInvalid,
		keep.CodeUnprocessable, keep.CodeEmptyValue, keep.CodeUnavailable, keep.CodeForbidden, keep.CodeTooMany,
		keep.CodeUnauthorized, CodeMethodNotAllowed, keep.CodeTooLarge, codeMediaType, codePrecondition,
	}
}

func invalid(message string) error {
	return &keep.Error{Code: keep.CodeInvalid, Message: message}
}

const internalMessage = "an internal error has occurred"

// explain returns what a client may know of an error.
func explain(err error) *keep.Error {
	var e *keep.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, httpapi.ErrBusy):
		return &keep.Error{Code: keep.CodeTooMany, Message: "too many requests at a time, try again", RetryAfter: time.Second}
	case errors.Is(err, httpapi.ErrTooLarge):
		return &keep.Error{Code: keep.CodeTooLarge, Message: "the request's body is too large"}
	case errors.Is(err, httpapi.ErrEncoding):
		return &keep.Error{Code: codeMediaType, Message: "the request's Content-Encoding must be gzip or identity"}
	case errors.Is(err, httpapi.ErrGzip):
		return &keep.Error{Code: keep.CodeInvalid, Message: "the request's body is not valid gzip"}
	}
	return &keep.Error{Code: keep.CodeInternal, Message: internalMessage}
}

type errorBody struct {
	Code    keep.Code `json:"code"`
	Message string    `json:"message"`
}

// fail answers with an error in the form that InfluxDB's handlers have.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := explain(err)
	httpapi.SetRetryAfter(w.Header(), e.RetryAfter)
	h.WriteError(w, r, e.Code, e.Message)
}

// refuse answers with an error in the form of InfluxDB's authentication: the
// same, without line breaks.
func (h *Handler) refuse(w http.ResponseWriter, _ *http.Request, err error) {
	e := explain(err)
	httpapi.SetRetryAfter(w.Header(), e.RetryAfter)
	writeError(w, e.Code, e.Message, json.Marshal)
}

// WriteError answers with an error. The message is shown to the client.
func (h *Handler) WriteError(w http.ResponseWriter, r *http.Request, code keep.Code, message string) {
	h.setHeaders(w, r)
	writeError(w, code, message, marshal)
}

func writeError(w http.ResponseWriter, code keep.Code, message string, marshal func(any) ([]byte, error)) {
	if message == "" {
		message = internalMessage
	}
	b, err := marshal(errorBody{code, message})
	if err != nil { // not possible: two strings
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Platform-Error-Code", string(code))
	send(w, statusOf(code), b)
}
