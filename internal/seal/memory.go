package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
)

// Memory seals what a process remembers and never writes down. Its key is made
// with it and is stored nowhere. It is AES-256-GCM, which the processor does in
// a fraction of the time that [Keys] needs; a nonce is 96 random bits, so after
// 2³² values two have the same with a probability of 2⁻³³. It is safe for
// concurrent use.
type Memory struct {
	shown
	aead cipher.AEAD
}

// NewMemory makes a key.
func NewMemory() (*Memory, error) {
	var key [32]byte
	rand.Read(key[:]) // never fails: it ends the process instead
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("seal memory: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal memory: %w", err)
	}
	return &Memory{shown: shown{"a key for memory"}, aead: aead}, nil
}

// Seal encrypts plaintext.
func (m *Memory) Seal(plaintext []byte) []byte { return m.aead.Seal(nil, nil, plaintext, nil) }

// Open decrypts what Seal made, and appends it to dst.
func (m *Memory) Open(dst, sealed []byte) ([]byte, error) {
	plaintext, err := m.aead.Open(dst, nil, sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("open memory: %w", ErrDamaged)
	}
	return plaintext, nil
}
