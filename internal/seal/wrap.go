package seal

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"golang.org/x/crypto/chacha20poly1305"
)

// The two sealed parts of a document have different associated data, so that
// one cannot replace the other.
const (
	partKey    = "wrapped key"
	partKeyset = "keyset"
)

// Create returns a new keyset and its wrapped form, a JSON document for the
// caller to store. Seal nothing before the document is durable.
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

// Wrap returns the keyset as a document wrapped by kek, which may differ from
// the provider it was loaded with. Every call uses new salts and keys, so no
// two documents are alike. Older documents stay valid: anyone with one and its
// key-encryption key has the data keys of that time.
//
// Wrap unwraps and compares the document before returning it. Otherwise, a
// service that only encrypts, or returns nonsense, would make all data
// unreadable at the next start.
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

	// The provider wraps a new key, and that key encrypts the keyset: a key
	// management service takes at most 4096 bytes (AWS), and must not see the
	// keyset.
	documentKey := make([]byte, chacha20poly1305.KeySize)
	rand.Read(documentKey) // never fails
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
		// Not %w: ErrDamaged or ErrWrongKey would be about the service's
		// answer, not a document of the caller's.
		return nil, fmt.Errorf("wrap the keyset: %s cannot unwrap what it wrapped: %v", kek, err)
	}
	if !again.Equal(k) {
		return nil, fmt.Errorf("wrap the keyset: %s unwraps a different keyset than it wrapped", kek)
	}
	return wrapped, nil
}

// Load unwraps a keyset. It returns ErrWrongKey, with the IDs of the required
// and the given key-encryption key, if kek does not have the right one;
// ErrDamaged if the document was changed; and ErrNewerFormat if only a newer
// version can read it. Other errors come from the provider, such as a service
// that cannot be reached.
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
		return nil, fmt.Errorf("unwrap with %s: %w: the unwrapped key has the wrong length", d.Key, ErrDamaged)
	}
	clearText, err := inner.Decrypt(d.Keyset, d.binding(partKeyset))
	if err != nil {
		return nil, fmt.Errorf("%w: the keyset cannot be opened with the document's key", ErrDamaged)
	}
	defer clear(clearText)
	s, err := decodeKeyset(clearText)
	if err != nil {
		return nil, err
	}
	return s.keys()
}

// Info is the information about a wrapped keyset that needs no key.
type Info struct {
	Format int
	Kind   string // the provider's kind
	KeyID  string // the key-encryption key's ID
}

// Describe returns what a wrapped keyset requires. It returns ErrDamaged or
// ErrNewerFormat. A checksum protects the result from accidents; only Load
// detects tampering.
func Describe(wrapped []byte) (Info, error) {
	d, err := parseDocument(wrapped)
	if err != nil {
		return Info{}, fmt.Errorf("describe the keyset: %w", err)
	}
	return Info{Format: d.Format, Kind: d.Key.Provider, KeyID: d.Key.ID}, nil
}
