package engine

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/pebblestore/integrity"
)

// Unavailable wraps cause in store.ErrUnavailable.
func Unavailable(cause error) error {
	if errors.Is(cause, store.ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, cause)
}

// ReadError translates an error of an engine read.
func ReadError(err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		what := "a table"
		if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
			what = filepath.Base(info.Path)
		}
		return integrity.Corrupt(what, err)
	}
	return Unavailable(err)
}
