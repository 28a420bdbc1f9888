package seal

import (
	"context"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// The kinds of providers, as named in the configuration and in wrapped
// documents.
const (
	KindKeyFile    = "key-file"
	KindPassphrase = "passphrase"
	KindTransit    = "transit"
	KindAWSKMS     = "aws-kms"
	KindGCPKMS     = "gcp-kms"
)

// Provider holds the key-encryption key. A keyset document names the
// provider's kind, the key's ID, and the parameters that are needed to find or
// derive the key again. A Provider is safe for concurrent use and shows
// nothing secret when printed, logged or marshaled.
type Provider interface {
	// Kind returns one of the kinds above.
	Kind() string

	// String describes the provider for messages, including its key if it has
	// only one.
	String() string

	// Key returns the key for new wrappings, and what the document must store
	// to find it again.
	Key(ctx context.Context) (KeyRef, tink.AEADWithContext, error)

	// KeyFor returns the key that a document names. It returns ErrWrongKey if
	// the provider can tell that it has a different key, and ErrDamaged if the
	// parameters are invalid.
	//
	// The key's DecryptWithContext returns ErrDamaged for bytes or associated
	// data that the key did not encrypt. If another key may have encrypted
	// them, it returns ErrWrongKey instead or in addition.
	KeyFor(ctx context.Context, ref KeyRef) (tink.AEADWithContext, error)
}

// KeyRef is a document's reference to a key-encryption key. It contains
// nothing secret.
type KeyRef struct {
	ID         string
	Parameters map[string]string
}

// Config locates the key-encryption key. Kind is required, and so are the
// fields for that kind.
type Config struct {
	Kind       string
	KeyFile    string     // path, for KindKeyFile
	Passphrase Credential // for KindPassphrase
	Transit    TransitConfig
	AWSKMS     AWSKMSConfig
	GCPKMS     GCPKMSConfig
}

// OpenProvider returns the provider that c describes. It creates nothing: a
// missing key file is an error that wraps fs.ErrNotExist, since only the
// caller knows whether existing data needs that key.
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
		return provider(NewAWSKMS(c.AWSKMS))
	case KindGCPKMS:
		return provider(NewGCPKMS(c.GCPKMS))
	default:
		return nil, fmt.Errorf("open the key provider: unknown kind %q (known are %s, %s, %s, %s and %s)",
			c.Kind, KindKeyFile, KindPassphrase, KindTransit, KindAWSKMS, KindGCPKMS)
	}
}

// provider converts a constructor's result to an interface, and a nil pointer
// to nil.
func provider[P Provider](p P, err error) (Provider, error) {
	if err != nil {
		return nil, fmt.Errorf("open the key provider: %w", err)
	}
	return p, nil
}
