package seal_test

import (
	"context"
	"crypto/cipher"
	"errors"
	"hash/crc32"
	"net"
	"sync"
	"testing"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

const (
	gcpKey      = "projects/p/locations/global/keyRings/r/cryptoKeys/fluxkeep"
	gcpOtherKey = "projects/p/locations/global/keyRings/r/cryptoKeys/another"
)

// gcpFake is Cloud KMS as its Encrypt and Decrypt are documented, over gRPC on this machine.
type gcpFake struct {
	kmspb.UnimplementedKeyManagementServiceServer
	address string

	mu   sync.Mutex
	keys map[string]cipher.AEAD
	fail error
}

func newGCPFake(t testing.TB) *gcpFake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &gcpFake{address: l.Addr().String(), keys: make(map[string]cipher.AEAD)}
	s := grpc.NewServer()
	kmspb.RegisterKeyManagementServiceServer(s, f)
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		s.Stop()
		served.Wait()
	})
	return f
}

func (f *gcpFake) provider(t testing.TB, name string) *seal.GCPKMS {
	t.Helper()
	p, err := seal.NewGCPKMS(seal.GCPKMSConfig{Key: name, Options: f.options()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *gcpFake) options() []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(f.address),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

func castagnoli(b []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
}

func (f *gcpFake) Encrypt(_ context.Context, r *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	if len(r.GetAdditionalAuthenticatedData()) == 0 {
		return nil, status.Error(codes.Internal, "the header of the document is not bound") // KMS itself would take it
	}
	if f.keys[r.GetName()] == nil {
		f.keys[r.GetName()] = newAESGCM()
	}
	ciphertext := f.keys[r.GetName()].Seal(nil, nil, r.GetPlaintext(), r.GetAdditionalAuthenticatedData())
	return &kmspb.EncryptResponse{
		Name:                    r.GetName() + "/cryptoKeyVersions/1",
		Ciphertext:              ciphertext,
		CiphertextCrc32C:        castagnoli(ciphertext),
		VerifiedPlaintextCrc32C: r.GetPlaintextCrc32C().GetValue() == castagnoli(r.GetPlaintext()).GetValue(),
		VerifiedAdditionalAuthenticatedDataCrc32C: r.GetAdditionalAuthenticatedDataCrc32C().GetValue() ==
			castagnoli(r.GetAdditionalAuthenticatedData()).GetValue(),
	}, nil
}

func (f *gcpFake) Decrypt(_ context.Context, r *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	key := f.keys[r.GetName()]
	if key == nil {
		return nil, status.Error(codes.NotFound, "CryptoKey not found")
	}
	plaintext, err := key.Open(nil, nil, r.GetCiphertext(), r.GetAdditionalAuthenticatedData())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "Decryption failed: the ciphertext is invalid.")
	}
	return &kmspb.DecryptResponse{Plaintext: plaintext, PlaintextCrc32C: castagnoli(plaintext)}, nil
}

func TestGCPKMSErrors(t *testing.T) {
	f := newGCPFake(t)
	p := f.provider(t, gcpKey)
	wrapped := mustWrap(t, newKeys(t), p)
	for code, verdict := range map[codes.Code]bool{
		codes.PermissionDenied:   false,
		codes.FailedPrecondition: false, // the key is disabled or destroyed
		codes.NotFound:           false,
		codes.InvalidArgument:    true,
	} {
		f.mu.Lock()
		f.fail = status.Error(code, "refused")
		f.mu.Unlock()
		_, err := seal.Load(t.Context(), wrapped, p)
		if status.Code(err) != code {
			t.Errorf("%v: %v, want the service's own error in it", code, err)
		}
		if errors.Is(err, seal.ErrDamaged) != verdict || errors.Is(err, seal.ErrWrongKey) != verdict {
			t.Errorf("%v: %v, want a verdict about the document: %v", code, err, verdict)
		}
		if _, err := newKeys(t).Wrap(t.Context(), p); status.Code(err) != code || errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%v: Wrap: %v, want the service's own error alone", code, err)
		}
	}
}

func TestGCPKeyOfTheSameNameElsewhere(t *testing.T) {
	wrapped := mustWrap(t, newKeys(t), newGCPFake(t).provider(t, gcpKey))
	other := newGCPFake(t).provider(t, gcpKey)
	mustWrap(t, newKeys(t), other) // so that it has a key of that name
	if _, err := seal.Load(t.Context(), wrapped, other); !errors.Is(err, seal.ErrWrongKey) || !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("err = %v, want ErrWrongKey and ErrDamaged", err)
	}
}

func TestNewGCPKMSRefuses(t *testing.T) {
	for _, name := range []string{
		"", "fluxkeep", "gcp-kms://" + gcpKey, gcpKey + "/cryptoKeyVersions/1", gcpKey + "\n",
		"projects//locations/global/keyRings/r/cryptoKeys/k",
	} {
		if _, err := seal.NewGCPKMS(seal.GCPKMSConfig{Key: name}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}
