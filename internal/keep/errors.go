package keep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Code says what kind of error it is. The texts are those of InfluxDB's API
// description; each protocol translates them in one table.
type Code string

const (
	CodeInternal      Code = "internal error"
	CodeInvalid       Code = "invalid"
	CodeEmptyValue    Code = "empty value"
	CodeNotFound      Code = "not found"
	CodeConflict      Code = "conflict"
	CodeUnprocessable Code = "unprocessable entity"
	CodeUnauthorized  Code = "unauthorized"
	CodeForbidden     Code = "forbidden"
	CodeTooLarge      Code = "request too large"
	CodeTooMany       Code = "too many requests"
	CodeUnavailable   Code = "unavailable"
)

// Error is what every method returns when it can't do what was asked. Its
// message is fit for the client; the wrapped error, if any, is for the
// server's log only.
type Error struct {
	Code    Code
	Message string
	// RetryAfter, with CodeTooMany, says when to try again.
	RetryAfter time.Duration

	err error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.err }

func errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Is makes errors with the same code and message equal, so that the
// package's sentinels work with errors.Is.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == e.Message
}

// Errors that protocols tell apart.
var (
	ErrOrganizationNotFound = &Error{Code: CodeNotFound, Message: "organization not found"}
	ErrUserNotFound         = &Error{Code: CodeNotFound, Message: "user not found"}
	ErrTokenNotFound        = &Error{Code: CodeNotFound, Message: "authorization not found"}
	// ErrUnauthenticated says that a token, a session or a password is not
	// known, without saying why.
	ErrUnauthenticated = &Error{Code: CodeUnauthorized, Message: "unauthorized access"}
	ErrUserInactive    = &Error{Code: CodeForbidden, Message: "User is inactive"}
	ErrTokenInactive   = &Error{Code: CodeUnauthorized, Message: "token is inactive"}
	// ErrNotOperator refuses what only an operator token may do.
	ErrNotOperator = &Error{Code: CodeUnauthorized, Message: "this requires operator permissions"}
	// ErrCASMismatch and ErrCASRequired refuse a write because of its
	// check-and-set parameter.
	ErrCASMismatch = &Error{Code: CodeInvalid, Message: "check-and-set parameter did not match the current version"}
	ErrCASRequired = &Error{Code: CodeInvalid, Message: "check-and-set parameter required for this call"}
	// ErrMetadataCASMismatch, ErrMetadataCASNew and ErrMetadataCASRequired
	// refuse a change of settings because of its check-and-set parameter.
	ErrMetadataCASMismatch = &Error{Code: CodeInvalid, Message: "metadata check-and-set parameter does not match the current version"}
	ErrMetadataCASNew      = &Error{Code: CodeInvalid, Message: "metadata_cas must be 0 when creating new metadata"}
	ErrMetadataCASRequired = &Error{Code: CodeInvalid, Message: "metadata check-and-set parameter required for this call"}
	// ErrVersionNotFound says that a version never was, or is no longer kept.
	ErrVersionNotFound = &Error{Code: CodeNotFound, Message: "version not found"}
	ErrSecretNotFound  = &Error{Code: CodeNotFound, Message: "secret not found"}
)

// CodeOf returns the code of a domain error, CodeInternal for any other.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// domain turns what came out of a layer below into an Error. The client
// learns what is damaged or that it can try again, never more.
func domain(err error) error {
	var e *Error
	var damage *record.DamageError
	var corrupt *store.CorruptError
	switch {
	case err == nil, errors.As(err, &e):
		return err
	case errors.As(err, &damage):
		return &Error{Code: CodeInternal, Message: damage.What + " is damaged", err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: CodeUnavailable, Message: "the request was given up", err: err}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed):
		return &Error{Code: CodeUnavailable, Message: "the store can't be written or read now, try again", err: err}
	case errors.As(err, &corrupt), errors.Is(err, seal.ErrDamaged):
		return &Error{Code: CodeInternal, Message: "stored data is damaged, see the server's log", err: err}
	}
	return &Error{Code: CodeInternal, Message: "an internal error has occurred", err: err}
}
