package seal

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/tink-crypto/tink-go-gcpkms/v2/integration/gcpkms"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// GCPKMSConfig names a symmetric key of Google Cloud KMS. The caller's identity needs the role Cloud KMS CryptoKey
// Encrypter/Decrypter on it.
type GCPKMSConfig struct {
	Key     string                // required: projects/…/locations/…/keyRings/…/cryptoKeys/…
	Options []option.ClientOption `json:"-"` // Application Default Credentials when empty
}

// GCPKMS is the provider that has its key in Google Cloud KMS.
type GCPKMS struct {
	shown
	name string
	aead *gcpKey
}

var _ Provider = (*GCPKMS)(nil)

var gcpKeyName = regexp.MustCompile(`^projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+$`)

// NewGCPKMS makes a provider of a key in Google Cloud KMS. It connects at each use, which is at a start and at a rotation,
// and holds no connection in between.
func NewGCPKMS(c GCPKMSConfig) (*GCPKMS, error) {
	if !gcpKeyName.MatchString(c.Key) {
		return nil, fmt.Errorf("gcp-kms: %q is not of the form projects/…/locations/…/keyRings/…/cryptoKeys/…", c.Key)
	}
	return &GCPKMS{
		shown: shown{KindGCPKMS + " key " + c.Key},
		name:  c.Key,
		aead:  &gcpKey{name: c.Key, options: c.Options},
	}, nil
}

// Kind is KindGCPKMS.
func (p *GCPKMS) Kind() string { return KindGCPKMS }

// Key returns the key in KMS.
func (p *GCPKMS) Key(context.Context) (KeyRef, tink.AEADWithContext, error) {
	return KeyRef{ID: p.name}, p.aead, nil
}

// KeyFor returns the key in KMS if it has the name in ref.
func (p *GCPKMS) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != p.name {
		return nil, wrongKey(KindGCPKMS+" key "+ref.ID, p.String())
	}
	return p.aead, nil
}

// gcpKey connects for each call and gives KMS's errors the meaning that Provider promises.
type gcpKey struct {
	name    string
	options []option.ClientOption
}

func (k *gcpKey) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) (ciphertext []byte, err error) {
	err = k.connected(ctx, func(a tink.AEADWithContext) (err error) {
		ciphertext, err = a.EncryptWithContext(ctx, plaintext, associatedData)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("gcp-kms: encrypt: %w", err)
	}
	return ciphertext, nil
}

func (k *gcpKey) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) (plaintext []byte, err error) {
	err = k.connected(ctx, func(a tink.AEADWithContext) (err error) {
		plaintext, err = a.DecryptWithContext(ctx, ciphertext, associatedData)
		return err
	})
	switch {
	case status.Code(err) == codes.InvalidArgument:
		// The one answer of KMS to a changed ciphertext, other associated data and another key of the same name.
		return nil, fmt.Errorf("%w, or %w: gcp-kms: decrypt: %w", ErrWrongKey, ErrDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("gcp-kms: decrypt: %w", err)
	}
	return plaintext, nil
}

func (k *gcpKey) connected(ctx context.Context, use func(tink.AEADWithContext) error) (err error) {
	uri := "gcp-kms://" + k.name
	client, err := gcpkms.NewClient(ctx, uri, gcpkms.WithGoogleAPIClientOptions(k.options...))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	a, err := client.GetAEAD(uri)
	if err != nil {
		return err
	}
	// The client's interface has no context; what it returns over gRPC, its default transport, does.
	withContext, ok := a.(tink.AEADWithContext)
	if !ok {
		return errors.New("the client does not take a context")
	}
	return use(withContext)
}
