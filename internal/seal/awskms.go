package seal

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// AWSKMSConfig names a symmetric key in AWS KMS. The caller's identity needs
// kms:Encrypt and kms:Decrypt on it.
type AWSKMSConfig struct {
	KeyARN string        // required: the full ARN of a key or an alias, which contains the region
	Client awskms.KMSAPI `json:"-"` // if nil, uses the SDK's default credentials
}

// AWSKMS is a provider with a key in AWS KMS.
type AWSKMS struct {
	shown
	arn  string
	aead *awsKey
}

var _ Provider = (*AWSKMS)(nil)

var awsKeyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+$`)

// NewAWSKMS returns a provider for a key in AWS KMS. It sends nothing until
// its first use.
func NewAWSKMS(ctx context.Context, c AWSKMSConfig) (*AWSKMS, error) {
	if !awsKeyARN.MatchString(c.KeyARN) {
		return nil, fmt.Errorf("aws-kms: %q is not of the form arn:aws:kms:region:account:key/id", c.KeyARN)
	}
	var options []awskms.ClientOption
	if c.Client != nil {
		options = append(options, awskms.WithKMS(c.Client))
	}
	aead, err := awskms.NewAEADWithContext(ctx, c.KeyARN, options...)
	if err != nil {
		return nil, fmt.Errorf("aws-kms: %w", err)
	}
	return &AWSKMS{
		shown: shown{KindAWSKMS + " key " + c.KeyARN},
		arn:   c.KeyARN,
		aead:  &awsKey{aead: aead},
	}, nil
}

// Kind returns KindAWSKMS.
func (p *AWSKMS) Kind() string { return KindAWSKMS }

// Key returns the key.
func (p *AWSKMS) Key(context.Context) (KeyRef, tink.AEADWithContext, error) {
	return KeyRef{ID: p.arn}, p.aead, nil
}

// KeyFor returns the key if its ARN is in ref.
func (p *AWSKMS) KeyFor(_ context.Context, ref KeyRef) (tink.AEADWithContext, error) {
	if ref.ID != p.arn {
		return nil, wrongKey(KindAWSKMS+" key "+ref.ID, p.String())
	}
	return p.aead, nil
}

// awsKey translates KMS's errors into those of Provider.
type awsKey struct {
	aead tink.AEADWithContext
}

func (k *awsKey) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	ciphertext, err := k.aead.EncryptWithContext(ctx, plaintext, associatedData)
	if err != nil {
		return nil, fmt.Errorf("aws-kms: encrypt: %w", err)
	}
	return ciphertext, nil
}

func (k *awsKey) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	plaintext, err := k.aead.DecryptWithContext(ctx, ciphertext, associatedData)
	var (
		invalid   *types.InvalidCiphertextException
		incorrect *types.IncorrectKeyException
	)
	switch {
	case errors.As(err, &incorrect):
		return nil, fmt.Errorf("%w: aws-kms: decrypt: %w", ErrWrongKey, err)
	case errors.As(err, &invalid):
		// KMS finds the key by the ciphertext, so the ciphertext or its
		// context was changed.
		return nil, fmt.Errorf("%w: aws-kms: decrypt: %w", ErrDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("aws-kms: decrypt: %w", err)
	}
	return plaintext, nil
}
