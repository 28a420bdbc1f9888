package seal

import (
	"context"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// The kinds of provider, as they stand in configuration and in the wrapped document.
const (
	KindKeyFile    = "key-file"
	KindPassphrase = "passphrase"
	KindTransit    = "transit"
	KindAWSKMS     = "aws-kms"
	KindGCPKMS     = "gcp-kms"
)

// Provider holds the key-encryption key. A keyset document names the provider's kind, the key's id and the parameters that
// are needed to have the same key again. A Provider is safe for concurrent use and shows nothing secret when printed,
// logged or marshalled.
type Provider interface {
	// Kind is one of the kinds above.
	Kind() string

	// String names the provider, and its key if it has only one, in words for a message.
	String() string

	// Key returns the key to wrap with from now on, and what the document must keep to find it again.
	Key(ctx context.Context) (KeyRef, tink.AEADWithContext, error)

	// KeyFor returns the key that a document names. It returns ErrWrongKey when the provider has another one, as far as
	// it can tell, and ErrDamaged when the parameters make no sense.
	//
	// The key's DecryptWithContext returns ErrDamaged for bytes or associated data that it did not encrypt, and ErrWrongKey
	// instead of that, or with it, when another key may have.
	KeyFor(ctx context.Context, ref KeyRef) (tink.AEADWithContext, error)
}

// KeyRef is what a document keeps of a key-encryption key. Nothing in it is secret.
type KeyRef struct {
	ID         string
	Parameters map[string]string
}

// Config says where the key-encryption key is. Kind is required, and of the rest what belongs to that kind.
type Config struct {
	Kind       string
	KeyFile    string     // path, for KindKeyFile
	Passphrase Credential // for KindPassphrase
	Transit    TransitConfig
	AWSKMS     AWSKMSConfig
	GCPKMS     GCPKMSConfig
}

// OpenProvider makes the provider that c describes. It creates nothing: a key file that is missing is an error that
// wraps fs.ErrNotExist, since only the caller knows whether there is data already that needs the old one.
func OpenProvider(ctx context.Context, c Config) (Provider, error) {
	switch c.Kind {
	case KindKeyFile:
		return provider(OpenKeyFile(c.KeyFile))
	case KindPassphrase:
		if c.Passphrase == nil {
			return nil, fmt.Errorf("open the key provider: a passphrase is required")
		}
		passphrase, err := c.Passphrase(ctx)
		if err != nil {
			return nil, fmt.Errorf("open the key provider: %w", err)
		}
		defer clear(passphrase)
		return provider(NewPassphrase(passphrase))
	case KindTransit:
		return provider(NewTransit(c.Transit))
	case KindAWSKMS:
		return provider(NewAWSKMS(ctx, c.AWSKMS))
	case KindGCPKMS:
		return provider(NewGCPKMS(c.GCPKMS))
	default:
		return nil, fmt.Errorf("open the key provider: there is no kind %q (there are %s, %s, %s, %s, %s)",
			c.Kind, KindKeyFile, KindPassphrase, KindTransit, KindAWSKMS, KindGCPKMS)
	}
}

// provider makes an interface of a constructor's result, and nil of a nil pointer.
func provider[P Provider](p P, err error) (Provider, error) {
	if err != nil {
		return nil, fmt.Errorf("open the key provider: %w", err)
	}
	return p, nil
}
