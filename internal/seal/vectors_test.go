package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// TestSealedVectors checks each vector with Keys from every source, and with
// Tink only.
func TestSealedVectors(t *testing.T) {
	v := readSealedVectors(t)
	kek := newKeyFile(t)
	for _, c := range v.Vectors {
		t.Run(c.Name, func(t *testing.T) {
			k := vectorKeys(t, v, c.Keyset)
			checkVector(t, "in clear", k, c)

			wrapped, err := k.Wrap(t.Context(), kek)
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := seal.Load(t.Context(), wrapped, kek)
			if err != nil {
				t.Fatal(err)
			}
			checkVector(t, "wrapped and loaded", loaded, c)

			rotated, err := loaded.WithNewKey()
			if err != nil {
				t.Fatal(err)
			}
			checkVector(t, "rotated", rotated, c)

			if c.Result == "ok" {
				without, err := rotated.WithoutKey(c.KeyID)
				if err != nil {
					t.Fatal(err)
				}
				gone := c
				gone.Result = "unknown key"
				checkVector(t, "without the key", without, gone)
			}

			got, err := tinkAEAD(t, k).Decrypt(c.Sealed, c.Place)
			if (err == nil) != (c.Result == "ok") || !bytes.Equal(got, plaintextOf(c)) {
				t.Errorf("Tink only: %x, %v", got, err)
			}
		})
	}
}

func checkVector(t *testing.T, how string, k *seal.Keys, c sealedVector) {
	t.Helper()
	id, ok := k.KeyID(c.Sealed)
	if wantOK := c.Result != "not sealed"; ok != wantOK || id != c.KeyID {
		t.Errorf("%s: KeyID = %08x, %v, want %08x, %v", how, id, ok, c.KeyID, wantOK)
	}
	got, err := k.Open(c.Sealed, c.Place)
	if !bytes.Equal(got, plaintextOf(c)) {
		t.Errorf("%s: opened %x", how, got)
	}
	if wantErr := c.Result != "ok"; errors.Is(err, seal.ErrDamaged) != wantErr || (err != nil) != wantErr {
		t.Errorf("%s: err = %v, want %s", how, err, c.Result)
	}
	if unknown := c.Result == "unknown key"; errors.Is(err, seal.ErrUnknownKey) != unknown {
		t.Errorf("%s: err = %v, want %s", how, err, c.Result)
	}
	again, err := k.Open(mustSeal(t, k, c.Plaintext, c.Place), c.Place)
	if err != nil || !bytes.Equal(again, c.Plaintext) {
		t.Errorf("%s: sealed again, it opens as %x, %v", how, again, err)
	}
}

func plaintextOf(c sealedVector) []byte {
	if c.Result != "ok" {
		return nil
	}
	return c.Plaintext
}

// tinkAEAD returns the data keys as a plain Tink AEAD.
func tinkAEAD(t *testing.T, k *seal.Keys) tink.AEAD {
	t.Helper()
	b, err := k.DataKeys()
	if err != nil {
		t.Fatal(err)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := aead.New(h)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTinkOpensSealedValues(t *testing.T) {
	k := newKeys(t)
	sealed := mustSeal(t, k, []byte("value"), []byte("place"))
	if got, err := tinkAEAD(t, k).Decrypt(sealed, []byte("place")); err != nil || string(got) != "value" {
		t.Errorf("Decrypt = %q, %v", got, err)
	}
}

func TestLookupVectors(t *testing.T) {
	var v struct {
		Keyset  json.RawMessage
		Vectors []struct {
			Purpose    string
			Name, Hash hexBytes
		}
	}
	readVectors(t, "lookup.json", &v)
	if len(v.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	k, err := seal.KeysFromPayload(v.Keyset)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := k.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Vectors {
		for how, k := range map[string]*seal.Keys{"in clear": k, "rotated": rotated} {
			if got := k.Lookup(c.Purpose, c.Name); !bytes.Equal(got[:], c.Hash) {
				t.Errorf("%s: Lookup(%q, %x) = %x, want %x", how, c.Purpose, c.Name, got, c.Hash)
			}
		}
	}
}

// documentVectors is testvectors/documents.json.
type documentVectors struct {
	Keyset  string
	Vectors []struct {
		Name       string
		KeyFile    string `json:"key_file"`
		Passphrase string
		Document   string
		Result     string
	}
}

func TestDocumentVectors(t *testing.T) {
	var v documentVectors
	readVectors(t, "documents.json", &v)
	if len(v.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	sealed := readSealedVectors(t)
	for _, c := range v.Vectors {
		t.Run(c.Name, func(t *testing.T) {
			k, err := seal.Load(t.Context(), []byte(c.Document), vectorProvider(t, c.KeyFile, c.Passphrase))
			wantResult(t, err, c.Result)
			if err != nil {
				return
			}
			for _, s := range sealed.Vectors {
				if s.Keyset == v.Keyset {
					checkVector(t, s.Name, k, s)
				}
			}
		})
	}
}

func vectorProvider(t *testing.T, keyFile, passphrase string) seal.Provider {
	t.Helper()
	if keyFile != "" {
		p, err := openKeyFile(t, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p, err := seal.NewPassphrase([]byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantResult checks that err is of exactly the kind that a vector names.
func wantResult(t *testing.T, err error, result string) {
	t.Helper()
	kinds := map[string]error{"damaged": seal.ErrDamaged, "wrong key": seal.ErrWrongKey, "newer format": seal.ErrNewerFormat}
	if _, ok := kinds[result]; !ok && result != "ok" {
		t.Fatalf("unknown result %q", result)
	}
	if (err == nil) != (result == "ok") {
		t.Errorf("err = %v, want %s", err, result)
	}
	for name, kind := range kinds {
		if errors.Is(err, kind) != (name == result) {
			t.Errorf("err = %v, want %s", err, result)
		}
	}
}
