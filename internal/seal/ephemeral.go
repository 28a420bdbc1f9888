package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
)

// EphemeralKey seals data that a process caches and never writes to disk. The
// key exists only in memory. It is for AES-256-GCM, which takes the processor a
// fraction of the time of [Keys]. A nonce is 96 random bits, so after 2³²
// values the probability that two share a nonce is 2⁻³³. An EphemeralKey is
// safe for concurrent use.
type EphemeralKey struct {
	shown
	aead cipher.AEAD
}

// NewEphemeralKey returns a new random key.
func NewEphemeralKey() (*EphemeralKey, error) {
	var key [32]byte
	rand.Read(key[:]) // never fails
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("create an ephemeral key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("create an ephemeral key: %w", err)
	}
	return &EphemeralKey{shown: shown{"ephemeral key"}, aead: aead}, nil
}

// Seal encrypts plaintext.
func (k *EphemeralKey) Seal(plaintext []byte) []byte { return k.aead.Seal(nil, nil, plaintext, nil) }

// Open decrypts the result of Seal, and appends it to dst.
func (k *EphemeralKey) Open(dst, sealed []byte) ([]byte, error) {
	plaintext, err := k.aead.Open(dst, nil, sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("open with the ephemeral key: %w", ErrDamaged)
	}
	return plaintext, nil
}
