package pebblestore

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// unavailable says that the store can't do the work now.
func unavailable(cause error) error {
	if errors.Is(cause, store.ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, cause)
}

// corrupt says that what is damaged. The engine's own error says it twice, and
// names a carrier of details that means nothing to an operator.
func corrupt(what string, cause error) error {
	if info := pebble.ExtractDataCorruptionInfo(cause); info != nil && info.Details != nil {
		cause = info.Details
	}
	return &store.CorruptError{What: what, Err: cause}
}

// readError translates an error that the engine returned for a read.
func readError(err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		what := "a table"
		if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
			what = filepath.Base(info.Path)
		}
		return corrupt(what, err)
	}
	return unavailable(err)
}

// catch runs fn and returns what it panicked with as an error: Pebble panics on
// some of the damage that it meets when it is opened, and when it is closed
// after a failure.
func catch(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine: %v", p)
		}
	}()
	return fn()
}

// isStoreError reports whether err is already in the store's own terms.
func isStoreError(err error) bool {
	var damaged *store.CorruptError
	return errors.As(err, &damaged) || errors.Is(err, store.ErrUnavailable)
}
