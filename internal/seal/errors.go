package seal

import (
	"errors"
	"fmt"
)

var (
	// ErrDamaged means that bytes were changed, truncated, moved to another
	// place, or sealed with a key that is not in the keyset (then the error is
	// also ErrUnknownKey).
	ErrDamaged = errors.New("damaged")

	// ErrWrongKey means that a keyset was wrapped with a different
	// key-encryption key.
	ErrWrongKey = errors.New("wrong key-encryption key")

	// ErrNewerFormat means that a newer Fluxkeep wrote the data.
	ErrNewerFormat = errors.New("written by a newer version of Fluxkeep")

	// ErrUnknownKey means that the keyset has no data key with that ID.
	ErrUnknownKey = errors.New("unknown data key")

	// ErrPrimaryKey means that the primary data key cannot be removed.
	ErrPrimaryKey = errors.New("the primary data key is in use")
)

// wrongKey says which key-encryption key is needed and which one was given.
func wrongKey(needed, given string) error {
	return fmt.Errorf("%w: the keyset needs %s, but got %s", ErrWrongKey, needed, given)
}
