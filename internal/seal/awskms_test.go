package seal_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

const (
	awsKey      = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	awsOtherKey = "arn:aws:kms:eu-central-1:111122223333:alias/another"
)

// awsFake implements Encrypt and Decrypt as documented for KMS: the ciphertext
// names its key, the encryption context is authenticated, and a plaintext has
// at most 4096 bytes.
type awsFake struct {
	mu   sync.Mutex
	keys map[string]cipher.AEAD
	fail error
}

func newAWSFake(testing.TB) *awsFake { return &awsFake{keys: make(map[string]cipher.AEAD)} }

func (f *awsFake) provider(t testing.TB, arn string) *seal.AWSKMS {
	t.Helper()
	p, err := seal.NewAWSKMS(t.Context(), seal.AWSKMSConfig{KeyARN: arn, Client: f})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *awsFake) key(arn string) cipher.AEAD {
	if f.keys[arn] == nil {
		f.keys[arn] = newAESGCM()
	}
	return f.keys[arn]
}

func (f *awsFake) Encrypt(ctx context.Context, in *kms.EncryptInput, _ ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(ctx.Err(), f.fail); err != nil {
		return nil, err
	}
	if len(in.Plaintext) == 0 || len(in.Plaintext) > 4096 {
		return nil, errors.New("ValidationException: plaintext must have 1 to 4096 bytes")
	}
	if len(in.EncryptionContext) == 0 {
		return nil, errors.New("the header of the document is not bound") // KMS itself would accept it
	}
	arn := aws.ToString(in.KeyId)
	ad, err := json.Marshal(in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	blob := append([]byte(arn+"\n"), f.key(arn).Seal(nil, nil, in.Plaintext, ad)...)
	return &kms.EncryptOutput{CiphertextBlob: blob, KeyId: in.KeyId}, nil
}

func (f *awsFake) Decrypt(ctx context.Context, in *kms.DecryptInput, _ ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(ctx.Err(), f.fail); err != nil {
		return nil, err
	}
	arn, rest, ok := bytes.Cut(in.CiphertextBlob, []byte("\n"))
	if !ok || f.keys[string(arn)] == nil {
		return nil, &types.InvalidCiphertextException{}
	}
	if string(arn) != aws.ToString(in.KeyId) {
		return nil, &types.IncorrectKeyException{}
	}
	ad, err := json.Marshal(in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	plaintext, err := f.keys[string(arn)].Open(nil, nil, rest, ad)
	if err != nil {
		return nil, &types.InvalidCiphertextException{}
	}
	return &kms.DecryptOutput{Plaintext: plaintext, KeyId: in.KeyId}, nil
}

func TestAWSKMSErrors(t *testing.T) {
	f := newAWSFake(t)
	p := f.provider(t, awsKey)
	wrapped := mustWrap(t, newKeys(t), p)
	for name, c := range map[string]struct {
		fail error
		want error // one of our own
	}{
		"throttled":       {&types.LimitExceededException{}, nil},
		"disabled":        {&types.DisabledException{}, nil},
		"not found":       {&types.NotFoundException{}, nil},
		"incorrect key":   {&types.IncorrectKeyException{}, seal.ErrWrongKey},
		"another context": {&types.InvalidCiphertextException{}, seal.ErrDamaged},
	} {
		f.fail = c.fail
		_, err := seal.Load(t.Context(), wrapped, p)
		if !errors.Is(err, c.fail) {
			t.Errorf("%s: %v, want the service's own error", name, err)
		}
		for _, ours := range []error{seal.ErrWrongKey, seal.ErrDamaged} {
			if errors.Is(err, ours) != (ours == c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if _, err := newKeys(t).Wrap(t.Context(), p); !errors.Is(err, c.fail) {
			t.Errorf("%s: Wrap: %v, want the service's own error", name, err)
		}
	}
}

func TestNewAWSKMSRefuses(t *testing.T) {
	for _, arn := range []string{
		"", "alias/fluxkeep", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:s3:::bucket",
		"arn:aws:kms:eu-central-1:111122223333:key/", "aws-kms://" + awsKey, awsKey + "\n",
	} {
		if _, err := seal.NewAWSKMS(t.Context(), seal.AWSKMSConfig{KeyARN: arn, Client: newAWSFake(t)}); err == nil {
			t.Errorf("%q was accepted", arn)
		}
	}
}
