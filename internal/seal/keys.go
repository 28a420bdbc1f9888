package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/crypto/chacha20poly1305"
)

// A sealed value has Tink's format: byte 0x01, key ID, nonce, ciphertext, tag.
const (
	prefixSize  = 5
	tinkPrefix  = 0x01
	sealedExtra = prefixSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// Keys seals and opens stored data. [Create] and [Load] return one. Keys is
// immutable and safe for concurrent use. Printed, logged or marshaled, it
// shows only IDs.
type Keys struct {
	shown
	set    *keyset
	aead   tink.AEAD
	lookup *lookup
}

// Seal encrypts plaintext for its place: the record's full store key, which is
// authenticated but not part of the result. Nil and empty plaintext are
// equivalent.
//
// Each nonce is 192 random bits. After 2⁶⁴ values with one key, a million a
// second for over half a million years, the probability that two share a nonce
// is below 2⁻⁶⁴. So nobody needs to count messages, even if several machines
// share a keyset, and keys need no rotation because of their use.
func (k *Keys) Seal(plaintext, place []byte) ([]byte, error) {
	sealed, err := k.aead.Encrypt(plaintext, place)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// Open decrypts the result of Seal for the same place. It returns ErrDamaged
// if the bytes or the place differ, and also ErrUnknownKey if the keyset does
// not have the key that the bytes name.
func (k *Keys) Open(sealed, place []byte) ([]byte, error) {
	id, ok := k.KeyID(sealed)
	if !ok {
		return nil, fmt.Errorf("open: %w: %d bytes that are not a sealed value", ErrDamaged, len(sealed))
	}
	if !k.set.has(id) {
		return nil, fmt.Errorf("open: %w: %w %08x", ErrDamaged, ErrUnknownKey, id)
	}
	plaintext, err := k.aead.Decrypt(sealed, place)
	if err != nil {
		// Tink reports no reason, and an attacker must not learn one.
		return nil, fmt.Errorf("open: %w: the value cannot be opened in its place with data key %08x", ErrDamaged, id)
	}
	return plaintext, nil
}

// Lookup returns a keyed hash for finding a record by its exact name:
// HMAC-SHA256 truncated to 128 bits. Hashes with different purposes are
// unrelated. The hash never changes while the keyset exists: rotation
// preserves it, since keyed hashes are store keys.
//
// The name can be split into any parts.
func (k *Keys) Lookup(purpose string, name ...[]byte) [16]byte {
	return k.lookup.hash(purpose, name...)
}

// MAC returns a new HMAC-SHA256 for data that is too large for Lookup. Its key
// is derived from the lookup key, so it does not change while the keyset
// exists.
func (k *Keys) MAC(purpose string) hash.Hash {
	key := k.lookup.full("key of " + purpose)
	return hmac.New(sha256.New, key[:])
}

// KeyID returns the ID of the data key that sealed names, whether or not the
// keyset has it. It returns false if sealed cannot be a sealed value. It does
// not check the value; Open does.
func (k *Keys) KeyID(sealed []byte) (uint32, bool) {
	if len(sealed) < sealedExtra || sealed[0] != tinkPrefix {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:prefixSize]), true
}

// PrimaryKeyID returns the ID of the data key that Seal uses.
func (k *Keys) PrimaryKeyID() uint32 { return k.set.primary }

// Equal reports whether k and other have the same keys with the same creation
// times.
func (k *Keys) Equal(other *Keys) bool {
	mine, err := k.set.encode()
	if err != nil {
		return false
	}
	defer clear(mine)
	theirs, err := other.set.encode()
	if err != nil {
		return false
	}
	defer clear(theirs)
	return subtle.ConstantTimeCompare(mine, theirs) == 1
}
