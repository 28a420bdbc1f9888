package seal

import (
	"errors"
	"fmt"
)

var (
	// ErrDamaged means that bytes are not what was written: changed, cut, moved to another place, or sealed with a key
	// that is not in the keyset (then ErrUnknownKey as well).
	ErrDamaged = errors.New("damaged")

	// ErrWrongKey means that a keyset was wrapped with another key-encryption key than the one given.
	ErrWrongKey = errors.New("wrong key-encryption key")

	// ErrNewerFormat means that a newer Fluxkeep wrote this.
	ErrNewerFormat = errors.New("written by a newer version of Fluxkeep")

	// ErrUnknownKey means that the keyset has no data key of that id.
	ErrUnknownKey = errors.New("unknown data key")

	// ErrPrimaryKey means that the primary data key cannot be removed.
	ErrPrimaryKey = errors.New("the primary data key is in use")
)

// wrongKey says which key-encryption key is needed and which was given.
func wrongKey(needed, given string) error {
	return fmt.Errorf("%w: the keyset needs %s, given was %s", ErrWrongKey, needed, given)
}
