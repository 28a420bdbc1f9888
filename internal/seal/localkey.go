package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/crypto/chacha20poly1305"
)

// localKey is a key-encryption key in this process, from a key file or a
// passphrase.
type localKey struct {
	id   string
	aead tink.AEAD
}

var _ tink.AEADWithContext = (*localKey)(nil)

// newLocalKey derives the ID and the key from master, 32 uniform bytes. They
// come from HKDF with different labels, so the ID reveals nothing about the
// key. It does allow testing guesses of a passphrase, at the cost of Argon2id
// for each, but so does the wrapped key.
func newLocalKey(master []byte) (*localKey, error) {
	id, err := hkdf.Expand(sha256.New, master, "fluxkeep key-encryption key: id", 8)
	if err != nil {
		return nil, fmt.Errorf("derive the key's ID: %w", err)
	}
	key, err := hkdf.Expand(sha256.New, master, "fluxkeep key-encryption key: XChaCha20-Poly1305", chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the key: %w", err)
	}
	defer clear(key)
	aead, err := subtle.NewXChaCha20Poly1305(key)
	if err != nil {
		return nil, fmt.Errorf("use the key: %w", err)
	}
	return &localKey{id: hex.EncodeToString(id), aead: aead}, nil
}

func (k *localKey) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return k.aead.Encrypt(plaintext, associatedData)
}

func (k *localKey) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	plaintext, err := k.aead.Decrypt(ciphertext, associatedData)
	if err != nil {
		return nil, fmt.Errorf("%w: the wrapped key cannot be opened", ErrDamaged)
	}
	return plaintext, nil
}
