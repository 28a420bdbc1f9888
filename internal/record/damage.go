package record

import (
	"errors"
	"fmt"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// DamageError reports stored bytes that can't be right.
type DamageError struct {
	What string // by kind and IDs, never by content
	Err  error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.What, e.Err) }

func (e *DamageError) Unwrap() []error { return []error{seal.ErrDamaged, e.Err} }

// Damaged says that the record at key is damaged.
func Damaged(key []byte, err error) error { return &DamageError{Describe(key), err} }

// ErrNoEntry says that an object exists and the record by which it is found
// does not.
var ErrNoEntry = errors.New("its lookup entry is missing")

// CheckRevisions checks that two records of one object, which stands at key,
// were written together.
func CheckRevisions(key []byte, object, entry uint64) error {
	if object != entry {
		return Damaged(key, fmt.Errorf("its records are of revisions %d and %d: one is older than the other", object, entry))
	}
	return nil
}
