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

// A sealed value is Tink's: the byte 0x01, the key id, the nonce, the ciphertext, the tag.
const (
	prefixSize  = 5
	tinkPrefix  = 0x01
	sealedExtra = prefixSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// Keys seals and opens what the store keeps. It is made by [Create] or [Load], never changes, and is safe for concurrent
// use. Printed, logged or marshalled it shows ids only.
type Keys struct {
	shown
	set    *keyset
	aead   tink.AEAD
	lookup *lookup
}

// Seal encrypts plaintext for its place and no other: place is the record's full store key, and is authenticated but
// not part of the result. Nil and empty plaintext are the same.
//
// Each nonce is 192 random bits. After 2⁶⁴ values under one key, a million a second for more than half a million years,
// two of them share a nonce with a probability below 2⁻⁶⁴. So no one counts messages, neither here nor between machines
// that share a keyset, and keys are rotated for other reasons than their use.
func (k *Keys) Seal(plaintext, place []byte) ([]byte, error) {
	sealed, err := k.aead.Encrypt(plaintext, place)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same place. It returns ErrDamaged when the bytes or the place are not those of
// Seal, and also ErrUnknownKey when the key that they name is not in the keyset.
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
		// Tink says no more than that it failed, and an attacker should not learn more.
		return nil, fmt.Errorf("open: %w: the value does not open in its place with data key %08x", ErrDamaged, id)
	}
	return plaintext, nil
}

// Lookup returns a keyed hash by which something is found by its exact name: HMAC-SHA256 cut to 128 bits. Hashes of
// different purposes have nothing to do with each other. The hash is deterministic for as long as the keyset lives:
// rotation leaves it as it is, since keyed hashes are store keys.
//
// A name may be given in parts; where they end makes no difference.
func (k *Keys) Lookup(purpose string, name ...[]byte) [16]byte {
	return k.lookup.hash(purpose, name...)
}

// MAC returns a new HMAC-SHA256 for bytes that are too many for Lookup. Its key is derived from that of lookups, so it
// stays the same for as long as the keyset lives.
func (k *Keys) MAC(purpose string) hash.Hash {
	key := k.lookup.full("key of " + purpose)
	return hmac.New(sha256.New, key[:])
}

// KeyID returns the id of the data key that sealed names, whether or not the keyset has it. It is false when sealed
// cannot be a sealed value. Only Open tells whether the value is whole.
func (k *Keys) KeyID(sealed []byte) (uint32, bool) {
	if len(sealed) < sealedExtra || sealed[0] != tinkPrefix {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:prefixSize]), true
}

// PrimaryKeyID returns the id of the data key that Seal uses.
func (k *Keys) PrimaryKeyID() uint32 { return k.set.primary }

// Equal reports whether both have the same keys, of the same age.
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
