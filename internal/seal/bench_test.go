package seal_test

import (
	"fmt"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

func BenchmarkKeys(b *testing.B) {
	k := newKeys(b)
	place := make([]byte, 40)
	for _, size := range []int{32, 1024} {
		plaintext := make([]byte, size)
		sealed := mustSeal(b, k, plaintext, place)
		b.Run(fmt.Sprintf("Seal/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := k.Seal(plaintext, place); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Open/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := k.Open(sealed, place); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			k.Lookup("secret", place)
		}
	})
}

// BenchmarkAlgorithms is why we use XChaCha20-Poly1305. It uses Tink's own
// primitives.
func BenchmarkAlgorithms(b *testing.B) {
	place := make([]byte, 40)
	for _, algorithm := range []struct {
		name     string
		template *tinkpb.KeyTemplate
	}{
		{"XChaCha20-Poly1305", aead.XChaCha20Poly1305KeyTemplate()},
		{"AES256-GCM", aead.AES256GCMKeyTemplate()},
		{"XAES-256-GCM", aead.XAES256GCM192BitNonceKeyTemplate()},
	} {
		h, err := keyset.NewHandle(algorithm.template)
		if err != nil {
			b.Fatal(err)
		}
		a, err := aead.New(h)
		if err != nil {
			b.Fatal(err)
		}
		for _, size := range []int{32, 1024} {
			plaintext := make([]byte, size)
			sealed, err := a.Encrypt(plaintext, place)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/Seal/%d", algorithm.name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := a.Encrypt(plaintext, place); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("%s/Open/%d", algorithm.name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := a.Decrypt(sealed, place); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLoad measures the cost at start.
func BenchmarkLoad(b *testing.B) {
	for _, p := range []seal.Provider{newKeyFile(b), newPassphrase(b, "correct horse battery staple")} {
		wrapped := mustWrap(b, newKeys(b), p)
		b.Run(p.Kind(), func(b *testing.B) {
			for b.Loop() {
				if _, err := seal.Load(b.Context(), wrapped, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
