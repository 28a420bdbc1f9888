package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// providerPair is a provider and another one of the same kind with a different
// key.
type providerPair struct {
	this, other seal.Provider
}

// allProviders returns one pair of each kind, with fakes for the services.
func allProviders(t *testing.T) map[string]providerPair {
	t.Helper()
	transit, aws, gcp := newTransitFake(t), newAWSFake(t), newGCPFake(t)
	return map[string]providerPair{
		seal.KindKeyFile:    {newKeyFile(t), newKeyFile(t)},
		seal.KindPassphrase: {newPassphrase(t, "correct horse battery"), newPassphrase(t, "incorrect horse battery")},
		seal.KindTransit:    {transit.provider(t, "fluxkeep"), transit.provider(t, "another")},
		seal.KindAWSKMS:     {aws.provider(t, awsKey), aws.provider(t, awsOtherKey)},
		seal.KindGCPKMS:     {gcp.provider(t, gcpKey), gcp.provider(t, gcpOtherKey)},
	}
}

func TestEveryProvider(t *testing.T) {
	place := []byte("place")
	for kind, p := range allProviders(t) {
		t.Run(kind, func(t *testing.T) {
			if p.this.Kind() != kind {
				t.Fatalf("Kind = %s", p.this.Kind())
			}
			created, wrapped, err := seal.Create(t.Context(), p.this)
			if err != nil {
				t.Fatal(err)
			}
			sealed := mustSeal(t, created, []byte("value"), place)

			loaded, err := seal.Load(t.Context(), wrapped, p.this)
			if err != nil {
				t.Fatal(err)
			}
			wantOpens(t, loaded, sealed, place, "value")
			if loaded.Lookup("p", place) != created.Lookup("p", place) {
				t.Error("loading changed a lookup")
			}
			if got, want := fmt.Sprint(loaded.KeyInfos()), fmt.Sprint(created.KeyInfos()); got != want {
				t.Errorf("loading changed the keys from %s to %s", want, got)
			}

			info, err := seal.Describe(wrapped)
			if err != nil || info.Format != 1 || info.Kind != kind || info.KeyID == "" {
				t.Errorf("Describe = %+v, %v", info, err)
			}

			_, err = seal.Load(t.Context(), wrapped, p.other)
			if !errors.Is(err, seal.ErrWrongKey) || !strings.Contains(err.Error(), "needs "+kind+" key "+info.KeyID) ||
				!strings.Contains(err.Error(), "but got "+kind+" key ") {
				t.Errorf("another key: %v, want ErrWrongKey with both keys", err)
			}

			again, err := loaded.Wrap(t.Context(), p.this)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(again, wrapped) {
				t.Error("two wrappings are the same")
			}
			wantNothingClear(t, created, wrapped, again)
		})
	}
}

// wantNothingClear checks that no document contains a key of the keyset, as
// text or in its sealed parts.
func wantNothingClear(t *testing.T, k *seal.Keys, documents ...[]byte) {
	t.Helper()
	clearText, err := k.Payload()
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		DataKeys  []byte `json:"data_keys"`
		LookupKey []byte `json:"lookup_key"`
	}
	if err := json.Unmarshal(clearText, &keys); err != nil {
		t.Fatal(err)
	}
	for _, b := range documents {
		var d struct {
			WrappedKey []byte `json:"wrapped_key"`
			Keyset     []byte `json:"keyset"`
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		for _, part := range [][]byte{b, d.WrappedKey, d.Keyset} {
			for _, secret := range [][]byte{keys.DataKeys, keys.LookupKey, []byte("data_keys"), []byte("lookup_key")} {
				if bytes.Contains(part, secret) || bytes.Contains(part, []byte(base64.StdEncoding.EncodeToString(secret))) {
					t.Errorf("a document contains a key in plain text: %s", b)
				}
			}
		}
	}
}

// TestRewrapWithAnotherProvider moves a keyset from provider to provider.
func TestRewrapWithAnotherProvider(t *testing.T) {
	providers := allProviders(t)
	place := []byte("place")
	k := newKeys(t)
	sealed := mustSeal(t, k, []byte("value"), place)
	kinds := slices.Sorted(maps.Keys(providers))
	before := providers[kinds[len(kinds)-1]].this
	wrapped := mustWrap(t, k, before)
	for _, kind := range kinds {
		loaded, err := seal.Load(t.Context(), wrapped, before)
		if err != nil {
			t.Fatal(err)
		}
		now := providers[kind].this
		wrapped = mustWrap(t, loaded, now)
		again, err := seal.Load(t.Context(), wrapped, now)
		if err != nil {
			t.Fatalf("from %s to %s: %v", before, now, err)
		}
		wantOpens(t, again, sealed, place, "value")
		_, err = seal.Load(t.Context(), wrapped, before)
		if !errors.Is(err, seal.ErrWrongKey) || !strings.Contains(err.Error(), before.String()) {
			t.Errorf("from %s to %s, previous provider: %v, want ErrWrongKey with its name", before, now, err)
		}
		before = now
	}
}

func TestAnyFlippedBitOfTheDocumentFails(t *testing.T) {
	for kind, p := range allProviders(t) {
		t.Run(kind, func(t *testing.T) {
			_, wrapped, err := seal.Create(t.Context(), p.this)
			if err != nil {
				t.Fatal(err)
			}
			format := bytes.Index(wrapped, []byte(`"format": 1`)) + len(`"format": `)
			for bit := range 8 * (len(wrapped) - 1) { // the last byte is a newline, which any white space can replace
				if kind != seal.KindKeyFile && bit%8 != bit/8%8 {
					continue // one bit of each byte is enough: all bits are handled alike
				}
				changed := bytes.Clone(wrapped)
				changed[bit/8] ^= 1 << (bit % 8)
				_, err := seal.Load(t.Context(), changed, p.this)
				if bit/8 == format && errors.Is(err, seal.ErrNewerFormat) {
					continue // 3, 5 and 9 may be future formats
				}
				if !errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrWrongKey) {
					t.Fatalf("bit %d of byte %d (%q): %v, want ErrDamaged", bit%8, bit/8, changed[bit/8], err)
				}
				if _, err := seal.Describe(changed); !errors.Is(err, seal.ErrDamaged) {
					t.Fatalf("bit %d of byte %d: Describe: %v, want ErrDamaged", bit%8, bit/8, err)
				}
			}
		})
	}
}

// TestTampering changes documents and corrects their checksums. The provider
// or the inner layer must detect it.
func TestTampering(t *testing.T) {
	for kind, p := range allProviders(t) {
		t.Run(kind, func(t *testing.T) {
			wrapped := mustWrap(t, newKeys(t), p.this)
			other := mustWrap(t, newKeys(t), p.this)
			for name, change := range map[string]func(map[string]any, map[string]any){
				"an additional parameter": func(d, _ map[string]any) {
					key := d["key_encryption_key"].(map[string]any)
					if key["parameters"] == nil {
						key["parameters"] = map[string]any{}
					}
					key["parameters"].(map[string]any)["note"] = "x"
				},
				"another key ID":               func(d, _ map[string]any) { d["key_encryption_key"].(map[string]any)["id"] = "x" },
				"keyset of another document":   func(d, o map[string]any) { d["keyset"] = o["keyset"] },
				"wrapped key of another":       func(d, o map[string]any) { d["wrapped_key"] = o["wrapped_key"] },
				"wrapped key in the other one": func(d, _ map[string]any) { d["wrapped_key"] = d["keyset"] },
				"nothing wrapped":              func(d, _ map[string]any) { d["wrapped_key"] = "" },
			} {
				var d, o map[string]any
				if err := errors.Join(json.Unmarshal(wrapped, &d), json.Unmarshal(other, &o)); err != nil {
					t.Fatal(err)
				}
				change(d, o)
				b, err := json.Marshal(d)
				if err != nil {
					t.Fatal(err)
				}
				if b, err = seal.Rechecksum(b); err != nil {
					t.Fatal(err)
				}
				_, err = seal.Load(t.Context(), b, p.this)
				if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrWrongKey) {
					t.Errorf("%s: %v, want ErrDamaged or ErrWrongKey", name, err)
				}
			}
		})
	}
}

func mustWrap(t testing.TB, k *seal.Keys, p seal.Provider) []byte {
	t.Helper()
	wrapped, err := k.Wrap(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return wrapped
}

func TestManyKeysFitEveryProvider(t *testing.T) {
	k := newKeys(t)
	for range 100 {
		var err error
		if k, err = k.WithNewKey(); err != nil {
			t.Fatal(err)
		}
	}
	for kind, p := range allProviders(t) {
		loaded, err := seal.Load(t.Context(), mustWrap(t, k, p.this), p.this)
		if err != nil || len(loaded.KeyInfos()) != 101 {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestCanceledContext(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for kind, p := range allProviders(t) {
		k, wrapped, err := seal.Create(t.Context(), p.this)
		if err != nil {
			t.Fatal(err)
		}
		for what, call := range map[string]func() error{
			"Create": func() error { _, _, err := seal.Create(canceled, p.this); return err },
			"Load":   func() error { _, err := seal.Load(canceled, wrapped, p.this); return err },
			"Wrap":   func() error { _, err := k.Wrap(canceled, p.this); return err },
		} {
			err := call()
			if err == nil || errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrWrongKey) {
				t.Errorf("%s: %s with a canceled context: %v", kind, what, err)
			}
		}
	}
}

// carelessProvider returns a key of the wrong length, as a broken service
// might.
type carelessProvider struct {
	seal.Provider
	size int
}

func (p carelessProvider) KeyFor(context.Context, seal.KeyRef) (tink.AEADWithContext, error) {
	return carelessKey{size: p.size}, nil
}

type carelessKey struct {
	tink.AEADWithContext
	size int
}

func (k carelessKey) DecryptWithContext(context.Context, []byte, []byte) ([]byte, error) {
	return make([]byte, k.size), nil
}

func TestServiceThatReturnsAnotherKey(t *testing.T) {
	kek := newKeyFile(t)
	wrapped := mustWrap(t, newKeys(t), kek)
	for _, size := range []int{0, 16, 31, 32, 33, 64} {
		_, err := seal.Load(t.Context(), wrapped, carelessProvider{Provider: kek, size: size})
		if !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%d bytes: %v, want ErrDamaged", size, err)
		}
	}
}

func TestDocumentMayBeReindented(t *testing.T) {
	kek := newKeyFile(t)
	wrapped := mustWrap(t, newKeys(t), kek)
	var compact, indented bytes.Buffer
	if err := errors.Join(json.Compact(&compact, wrapped), json.Indent(&indented, wrapped, " ", "\t")); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{compact.Bytes(), indented.Bytes(), []byte("\n" + string(wrapped) + "\r\n ")} {
		if _, err := seal.Load(t.Context(), b, kek); err != nil {
			t.Errorf("%q: %v", b, err)
		}
	}
}

// oneWay wraps with its own key, and unwraps with the key that unwrap returns.
type oneWay struct {
	seal.Provider
	unwrap func() (tink.AEADWithContext, error)
}

func (p *oneWay) KeyFor(context.Context, seal.KeyRef) (tink.AEADWithContext, error) {
	return p.unwrap()
}

// constant decrypts everything to the same bytes.
type constant []byte

func (c constant) EncryptWithContext(context.Context, []byte, []byte) ([]byte, error) { return c, nil }
func (c constant) DecryptWithContext(context.Context, []byte, []byte) ([]byte, error) { return c, nil }

// TestWrapIsTried checks that Wrap never returns a document that cannot be
// unwrapped.
func TestWrapIsTried(t *testing.T) {
	forbidden := errors.New("decrypt is forbidden")
	for name, unwrap := range map[string]func() (tink.AEADWithContext, error){
		"no right to decrypt": func() (tink.AEADWithContext, error) { return nil, forbidden },
		"another key":         func() (tink.AEADWithContext, error) { return constant(make([]byte, 32)), nil },
		"nonsense":            func() (tink.AEADWithContext, error) { return constant("x"), nil },
	} {
		p := &oneWay{newKeyFile(t), unwrap}
		k, wrapped, err := seal.Create(t.Context(), p)
		if err == nil || k != nil || wrapped != nil || !strings.Contains(err.Error(), "cannot unwrap") {
			t.Errorf("%s: Create: %v, want one that says that the keyset cannot be unwrapped", name, err)
		}
		if _, err := newKeys(t).Wrap(t.Context(), p); err == nil || errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrWrongKey) {
			t.Errorf("%s: Wrap: %v, want one that is not about a document", name, err)
		}
	}
}

func TestEqual(t *testing.T) {
	k := newKeys(t)
	p := newKeyFile(t)
	loaded, err := seal.Load(t.Context(), mustWrap(t, k, p), p)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := k.WithNewKey()
	if err != nil {
		t.Fatal(err)
	}
	if !k.Equal(loaded) || !loaded.Equal(k) {
		t.Error("a loaded keyset differs from the original")
	}
	if k.Equal(rotated) || rotated.Equal(k) || k.Equal(newKeys(t)) {
		t.Error("different keysets are equal")
	}
}
