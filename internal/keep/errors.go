package keep

import (
	"context"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/directory"
	"github.com/fluxkeep/fluxkeep/internal/errcode"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Code and Error are the types of every method's errors.
type (
	Code  = errcode.Code
	Error = errcode.Error
)

const (
	CodeInternal      = errcode.Internal
	CodeInvalid       = errcode.Invalid
	CodeEmptyValue    = errcode.EmptyValue
	CodeNotFound      = errcode.NotFound
	CodeConflict      = errcode.Conflict
	CodeUnprocessable = errcode.Unprocessable
	CodeUnauthorized  = errcode.Unauthorized
	CodeForbidden     = errcode.Forbidden
	CodeTooLarge      = errcode.TooLarge
	CodeTooMany       = errcode.TooMany
	CodeUnavailable   = errcode.Unavailable
)

func errorf(code Code, format string, args ...any) *Error {
	return errcode.Errorf(code, format, args...)
}

// CodeOf returns the code of a domain error, CodeInternal for any other.
func CodeOf(err error) Code { return errcode.Of(err) }

// Errors that protocols tell apart.
var (
	ErrTokenInactive = &Error{Code: CodeUnauthorized, Message: "token is inactive"}
	// ErrNotOperator refuses an action that requires an operator.
	ErrNotOperator = &Error{Code: CodeUnauthorized, Message: "this requires operator permissions"}
	// These are the directory's.
	ErrOrganizationNotFound = directory.ErrOrganizationNotFound
	ErrUserNotFound         = directory.ErrUserNotFound
	ErrTokenNotFound        = directory.ErrTokenNotFound
	ErrUnauthenticated      = directory.ErrUnauthenticated
	ErrUserInactive         = directory.ErrUserInactive
	// These are secretmap's.
	ErrCASMismatch         = secretmap.ErrCASMismatch
	ErrCASRequired         = secretmap.ErrCASRequired
	ErrMetadataCASMismatch = secretmap.ErrMetadataCASMismatch
	ErrMetadataCASNew      = secretmap.ErrMetadataCASNew
	ErrMetadataCASRequired = secretmap.ErrMetadataCASRequired
	ErrVersionNotFound     = secretmap.ErrVersionNotFound
	ErrSecretNotFound      = &Error{Code: CodeNotFound, Message: "secret not found"}
	// ErrSecretChanged refuses a change because of one that the caller hasn't seen.
	ErrSecretChanged = &Error{Code: CodeConflict, Message: "the secret has changed since"}
)

// domain converts an error from a lower layer to an Error. The client learns what
// is damaged or that it can try again, and nothing else.
func domain(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	var damage *record.DamageError
	var corrupt *store.CorruptError
	switch {
	case errors.As(err, &e):
		return err
	case errors.As(err, &damage):
		return &Error{Code: CodeInternal, Message: damage.What + " is damaged", Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: CodeUnavailable, Message: "the request was given up", Err: err}
	case errors.Is(err, store.ErrFull):
		return &Error{Code: CodeUnavailable, Message: "there is too little space for this change on the disk or in etcd's quota", Err: err}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed):
		return &Error{Code: CodeUnavailable, Message: "the store can't be written or read now, try again", Err: err}
	case errors.As(err, &corrupt), errors.Is(err, seal.ErrDamaged):
		return &Error{Code: CodeInternal, Message: "stored data is damaged, see the server's log", Err: err}
	}
	return &Error{Code: CodeInternal, Message: "an internal error has occurred", Err: err}
}
