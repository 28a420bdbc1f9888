package vaultkv

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// statusError is an error specific to the protocol.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

func invalid(message string) error { return &keep.Error{Code: keep.CodeInvalid, Message: message} }

// wrongField refuses the value of a field or a parameter.
func wrongField(name string, problem any) error {
	return invalid(fmt.Sprintf("error converting input for field %q: %v", name, problem))
}

// bodyError converts an error from reading a body.
func bodyError(err error, limit int64) error {
	switch {
	case errors.Is(err, httpapi.ErrBusy):
		return &keep.Error{Code: keep.CodeTooMany, Message: "too many requests at a time, try again", RetryAfter: time.Second}
	case errors.Is(err, httpapi.ErrTooLarge):
		return &keep.Error{Code: keep.CodeTooLarge, Message: fmt.Sprintf("the request body is larger than %d bytes", limit)}
	case errors.Is(err, httpapi.ErrEncoding):
		return &statusError{http.StatusUnsupportedMediaType, err.Error()}
	case errors.Is(err, httpapi.ErrGzip):
		return invalid(err.Error())
	}
	return invalid("the request body can't be read")
}

// statusOf maps the domain's codes to HTTP statuses.
func statusOf(code keep.Code) int {
	switch code {
	case keep.CodeUnauthorized, keep.CodeForbidden:
		return http.StatusForbidden
	case keep.CodeInvalid, keep.CodeEmptyValue, keep.CodeConflict, keep.CodeUnprocessable:
		return http.StatusBadRequest
	case keep.CodeNotFound:
		return http.StatusNotFound
	case keep.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case keep.CodeTooMany:
		return http.StatusTooManyRequests
	case keep.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fail responds with an error.
func (c *call) fail(err error) {
	if s, ok := errors.AsType[*statusError](err); ok {
		c.writeErrors(c.w, s.status, s.message)
		return
	}
	e, ok := errors.AsType[*keep.Error](err)
	if !ok {
		e = &keep.Error{Code: keep.CodeInternal}
	}
	httpapi.SetRetryAfter(c.w.Header(), e.RetryAfter)
	message := e.Message
	if e.Code == keep.CodeNotFound && !c.missingTarget(err) {
		message = "" // Vault's response when nothing exists
	}
	c.WriteError(c.w, c.r, e.Code, message)
}

// missingTarget reports whether err means that the organization of a write does not
// exist, which needs a message.
func (c *call) missingTarget(err error) bool {
	return errors.Is(err, keep.ErrOrganizationNotFound) && c.r.Method != http.MethodGet && c.r.Method != methodList && c.r.Method != http.MethodHead
}

// WriteError responds with an error in Vault's format. The client sees the
// message, except with a denied request, which reveals nothing.
func (h *Handler) WriteError(w http.ResponseWriter, _ *http.Request, code keep.Code, message string) {
	status := statusOf(code)
	switch status {
	case http.StatusForbidden:
		message = "permission denied"
	case http.StatusInternalServerError:
		if message == "" {
			message = "internal error"
		}
	}
	h.writeErrors(w, status, message)
}

func (h *Handler) writeErrors(w http.ResponseWriter, status int, message string) {
	body := struct {
		Errors []string `json:"errors"`
	}{[]string{}}
	if message != "" {
		body.Errors = append(body.Errors, message)
	}
	b, err := json.Marshal(body)
	if err != nil { // can't happen for a struct of strings
		status, b = http.StatusInternalServerError, []byte(`{"errors":["internal error"]}`)
	}
	send(w, status, append(b, '\n'))
}
