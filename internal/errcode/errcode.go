// Package errcode defines the errors of the domain (package keep): a code, and a
// message for whoever sent the request. Each protocol translates the codes in one
// table.
package errcode

import (
	"errors"
	"fmt"
	"time"
)

// Code is the kind of an error. The texts are those of InfluxDB's API
// description.
type Code string

const (
	Internal      Code = "internal error"
	Invalid       Code = "invalid"
	EmptyValue    Code = "empty value"
	NotFound      Code = "not found"
	Conflict      Code = "conflict"
	Unprocessable Code = "unprocessable entity"
	Unauthorized  Code = "unauthorized"
	Forbidden     Code = "forbidden"
	TooLarge      Code = "request too large"
	TooMany       Code = "too many requests"
	Unavailable   Code = "unavailable"
)

// Error explains why an operation failed. The client may see its message.
type Error struct {
	Code    Code
	Message string
	// RetryAfter, with TooMany, is how long to wait before a retry.
	RetryAfter time.Duration
	// Err, if any, is for the server's log only.
	Err error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target has the same code and message, so that errors.Is
// works with variables of this type.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == e.Message
}

// Errorf returns an error with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Of returns the code of an Error, and Internal for any other error.
func Of(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
