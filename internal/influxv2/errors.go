package influxv2

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// CodeMethodNotAllowed is part of InfluxDB's API but not of the domain.
const CodeMethodNotAllowed keep.Code = "method not allowed"

// Further codes specific to the protocol. All but the last are InfluxDB's; the
// last is for a write whose If-Match no longer holds.
const (
	codeNotImplemented keep.Code = "not implemented"
	codeMediaType      keep.Code = "unsupported media type"
	codePrecondition   keep.Code = "precondition failed"
)

// statusOf maps codes to HTTP statuses.
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

func invalid(message string) error {
	return &keep.Error{Code: keep.CodeInvalid, Message: message}
}

const internalMessage = "an internal error has occurred"

// publicError returns what a client may know about an error.
func publicError(err error) *keep.Error {
	if e, ok := errors.AsType[*keep.Error](err); ok {
		return e
	}
	switch {
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

// fail responds with an error in the format of InfluxDB's handlers.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := publicError(err)
	httpapi.SetRetryAfter(w.Header(), e.RetryAfter)
	h.WriteError(w, r, e.Code, e.Message)
}

// refuse responds with an error in the format of InfluxDB's authentication,
// which has no line breaks.
func (h *Handler) refuse(w http.ResponseWriter, _ *http.Request, err error) {
	e := publicError(err)
	httpapi.SetRetryAfter(w.Header(), e.RetryAfter)
	writeError(w, e.Code, e.Message, json.Marshal)
}

// WriteError responds with an error. The client sees the message.
func (h *Handler) WriteError(w http.ResponseWriter, r *http.Request, code keep.Code, message string) {
	h.setHeaders(w, r)
	writeError(w, code, message, marshal)
}

func writeError(w http.ResponseWriter, code keep.Code, message string, marshal func(any) ([]byte, error)) {
	if message == "" {
		message = internalMessage
	}
	b, err := marshal(errorBody{code, message})
	if err != nil { // can't happen for two strings
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Platform-Error-Code", string(code))
	send(w, statusOf(code), b)
}
