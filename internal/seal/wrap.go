package seal

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"golang.org/x/crypto/chacha20poly1305"
)

// The two sealed parts of a document have associated data of their own, so that neither can stand for the other.
const (
	partKey    = "wrapped key"
	partKeyset = "keyset"
)

// Create makes a new keyset and its wrapped form, a JSON document that the caller keeps in a file. Nothing may be sealed
// before the document is durable.
func Create(ctx context.Context, kek Provider) (*Keys, []byte, error) {
	s, err := newKeyset(now())
	if err != nil {
		return nil, nil, fmt.Errorf("create a keyset: %w", err)
	}
	k, err := s.keys()
	if err != nil {
		return nil, nil, fmt.Errorf("create a keyset: %w", err)
	}
	wrapped, err := k.Wrap(ctx, kek)
	if err != nil {
		return nil, nil, err
	}
	return k, wrapped, nil
}

// Wrap returns the keyset as a document wrapped by kek, which may be another provider than the one it was loaded with.
// Every call makes new salts and keys, so no two documents are alike. An older document stays valid: whoever has it and its
// key-encryption key has the data keys of that time.
//
// The document is unwrapped and compared before Wrap returns it: a service that only encrypts, or answers nonsense, would
// otherwise lose all data at the next start.
func (k *Keys) Wrap(ctx context.Context, kek Provider) ([]byte, error) {
	ref, outer, err := kek.Key(ctx)
	if err != nil {
		return nil, fmt.Errorf("wrap the keyset: %w", err)
	}
	d := &document{
		Type:   documentType,
		Format: documentFormat,
		Key:    keyName{Provider: kek.Kind(), ID: ref.ID, Parameters: ref.Parameters},
	}

	// The provider wraps a fresh key and that one the keyset: a key management service takes 4096 bytes at most (AWS),
	// and so it never sees the keyset.
	documentKey := make([]byte, chacha20poly1305.KeySize)
	rand.Read(documentKey) // never fails: it ends the process instead
	defer clear(documentKey)
	d.WrappedKey, err = outer.EncryptWithContext(ctx, documentKey, d.binding(partKey))
	if err != nil {
		return nil, fmt.Errorf("wrap the keyset with %s: %w", d.Key, err)
	}

	clearText, err := k.set.encode()
	if err != nil {
		return nil, fmt.Errorf("wrap the keyset: %w", err)
	}
	defer clear(clearText)
	inner, err := subtle.NewXChaCha20Poly1305(documentKey)
	if err != nil {
		return nil, fmt.Errorf("wrap the keyset: %w", err)
	}
	d.Keyset, err = inner.Encrypt(clearText, d.binding(partKeyset))
	if err != nil {
		return nil, fmt.Errorf("wrap the keyset: %w", err)
	}
	wrapped, err := d.encode()
	if err != nil {
		return nil, err
	}
	again, err := load(ctx, wrapped, kek)
	if err != nil {
		// Not %w: what is damaged or needs another key is the answer of the service, not a document of the caller's.
		return nil, fmt.Errorf("wrap the keyset: %s does not unwrap what it has wrapped: %v", kek, err)
	}
	if !again.Equal(k) {
		return nil, fmt.Errorf("wrap the keyset: %s unwraps another keyset than it has wrapped", kek)
	}
	return wrapped, nil
}

// Load unwraps a keyset. It returns ErrWrongKey, with the key-encryption keys that are needed and given, when kek is not
// the one; ErrDamaged when the document is not as it was written; ErrNewerFormat when only a newer version can read it.
// Other errors are those of the provider, such as a service that cannot be reached.
func Load(ctx context.Context, wrapped []byte, kek Provider) (*Keys, error) {
	k, err := load(ctx, wrapped, kek)
	if err != nil {
		return nil, fmt.Errorf("load the keyset: %w", err)
	}
	return k, nil
}

func load(ctx context.Context, wrapped []byte, kek Provider) (*Keys, error) {
	d, err := parseDocument(wrapped)
	if err != nil {
		return nil, err
	}
	if d.Key.Provider != kek.Kind() {
		return nil, wrongKey(d.Key.String(), kek.String())
	}
	outer, err := kek.KeyFor(ctx, d.ref())
	if err != nil {
		return nil, err
	}
	documentKey, err := outer.DecryptWithContext(ctx, d.WrappedKey, d.binding(partKey))
	if err != nil {
		return nil, fmt.Errorf("unwrap with %s: %w", d.Key, err)
	}
	defer clear(documentKey)
	inner, err := subtle.NewXChaCha20Poly1305(documentKey)
	if err != nil {
		return nil, fmt.Errorf("unwrap with %s: %w: no key of the right length comes out", d.Key, ErrDamaged)
	}
	clearText, err := inner.Decrypt(d.Keyset, d.binding(partKeyset))
	if err != nil {
		return nil, fmt.Errorf("%w: the keyset does not open with the key that the document keeps for it", ErrDamaged)
	}
	defer clear(clearText)
	s, err := decodeKeyset(clearText)
	if err != nil {
		return nil, err
	}
	return s.keys()
}

// Info is what can be known of a wrapped keyset without its key.
type Info struct {
	Format int
	Kind   string // of the provider
	KeyID  string // of the key-encryption key
}

// Describe says what a wrapped keyset needs. It returns ErrDamaged or ErrNewerFormat. What it says is protected against
// accidents by a checksum; only Load finds what was changed with intent.
func Describe(wrapped []byte) (Info, error) {
	d, err := parseDocument(wrapped)
	if err != nil {
		return Info{}, fmt.Errorf("describe the keyset: %w", err)
	}
	return Info{Format: d.Format, Kind: d.Key.Provider, KeyID: d.Key.ID}, nil
}
