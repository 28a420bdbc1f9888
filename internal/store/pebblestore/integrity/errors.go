package integrity

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Corrupt returns an error that names what is damaged. It drops the wrapping
// of Pebble's error, which repeats the cause and means nothing to an operator.
func Corrupt(what string, cause error) error {
	if info := pebble.ExtractDataCorruptionInfo(cause); info != nil && info.Details != nil {
		cause = info.Details
	}
	return &store.CorruptError{What: what, Err: cause}
}

// Damaged returns an error that says what is damaged, unless err shows that it
// could not be read for another reason.
func Damaged(what string, err error) error {
	if IsStoreError(err) {
		return err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return Corrupt(what, err)
}

// IsStoreError reports whether err already is one of package store's errors.
func IsStoreError(err error) bool {
	var damaged *store.CorruptError
	return errors.As(err, &damaged) || errors.Is(err, store.ErrUnavailable)
}

// Culprit returns the file that err is about, if it says.
func Culprit(err error) string {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return filepath.Base(info.Path)
	}
	return "the engine's files"
}

// Catch runs fn and converts a panic to an error: Pebble panics on some kinds
// of damage when it is opened, and when it is closed after a failure.
func Catch(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine: %v", p)
		}
	}()
	return fn()
}
