package seal_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// hexBytes are bytes that a vector has in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testvectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// sealedVectors is testvectors/sealed.json.
type sealedVectors struct {
	Keysets map[string]json.RawMessage
	Vectors []sealedVector
}

type sealedVector struct {
	Name      string
	Keyset    string
	KeyID     uint32 `json:"key_id"`
	Place     hexBytes
	Plaintext hexBytes
	Sealed    hexBytes
	Result    string
}

func readSealedVectors(t testing.TB) sealedVectors {
	t.Helper()
	var v sealedVectors
	readVectors(t, "sealed.json", &v)
	if len(v.Keysets) == 0 || len(v.Vectors) == 0 {
		t.Fatal("sealed.json has no vectors")
	}
	return v
}

// vectorKeys returns the keys of a keyset in sealed.json.
func vectorKeys(t testing.TB, v sealedVectors, name string) *seal.Keys {
	t.Helper()
	k, err := seal.KeysFromPayload(v.Keysets[name])
	if err != nil {
		t.Fatalf("keyset %q: %v", name, err)
	}
	return k
}

// newKeys returns a new keyset.
func newKeys(t testing.TB) *seal.Keys {
	t.Helper()
	k, _, err := seal.Create(t.Context(), newKeyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKeyFile(t testing.TB) *seal.KeyFile {
	t.Helper()
	k, err := seal.CreateKeyFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// openKeyFile writes text to a key file and opens it.
func openKeyFile(t testing.TB, text string) (*seal.KeyFile, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return seal.OpenKeyFile(path)
}

func mustSeal(t testing.TB, k *seal.Keys, plaintext, place []byte) []byte {
	t.Helper()
	sealed, err := k.Seal(plaintext, place)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}
