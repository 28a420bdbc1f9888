package secretmap

import (
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/errcode"
)

var (
	// ErrUnchanged means that there is nothing to write: the transaction can
	// end.
	ErrUnchanged = errors.New("nothing to change")
	// ErrVersionNotFound means that a version never existed or no longer does.
	ErrVersionNotFound = &errcode.Error{Code: errcode.NotFound, Message: "version not found"}
	// ErrCASMismatch and ErrCASRequired refuse a write because of its
	// check-and-set parameter.
	ErrCASMismatch = &errcode.Error{Code: errcode.Invalid, Message: "check-and-set parameter did not match the current version"}
	ErrCASRequired = &errcode.Error{Code: errcode.Invalid, Message: "check-and-set parameter required for this call"}
	// ErrMetadataCASMismatch, ErrMetadataCASNew and ErrMetadataCASRequired
	// refuse a change of settings because of its check-and-set parameter.
	ErrMetadataCASMismatch = &errcode.Error{Code: errcode.Invalid, Message: "metadata check-and-set parameter does not match the current version"}
	ErrMetadataCASNew      = &errcode.Error{Code: errcode.Invalid, Message: "metadata_cas must be 0 when creating new metadata"}
	ErrMetadataCASRequired = &errcode.Error{Code: errcode.Invalid, Message: "metadata check-and-set parameter required for this call"}
)
