package seal_test

import (
	"errors"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

func newPassphrase(t testing.TB, s string) *seal.Passphrase {
	t.Helper()
	p, err := seal.NewPassphrase([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPassphraseIsCopied(t *testing.T) {
	given := []byte("correct horse battery staple")
	p, err := seal.NewPassphrase(given)
	if err != nil {
		t.Fatal(err)
	}
	_, wrapped, err := seal.Create(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	clear(given)
	if _, err := seal.Load(t.Context(), wrapped, p); err != nil {
		t.Errorf("after clearing the caller's copy: %v", err)
	}
}

func TestShortPassphraseIsRefused(t *testing.T) {
	for _, s := range []string{"", "1234567"} {
		if _, err := seal.NewPassphrase([]byte(s)); err == nil {
			t.Errorf("%d bytes were accepted", len(s))
		}
	}
}

func TestPassphraseKeyIsFreshEachTime(t *testing.T) {
	p := newPassphrase(t, "correct horse battery staple")
	first, _, err := p.Key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := p.Key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.ID == second.ID || first.Parameters["salt"] == second.Parameters["salt"] {
		t.Errorf("two wrappings have the key %s with salt %s", first.ID, first.Parameters["salt"])
	}
	if _, err := newPassphrase(t, "incorrect horse").KeyFor(t.Context(), first); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("another passphrase: %v, want ErrWrongKey", err)
	}
}

// TestPassphraseCosts pins the costs of new wrappings to RFC 9106's.
func TestPassphraseCosts(t *testing.T) {
	ref, _, err := newPassphrase(t, "correct horse battery staple").Key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"function": "argon2id", "version": "19", "passes": "3", "memory_kib": "65536", "lanes": "4",
	} {
		if ref.Parameters[name] != want {
			t.Errorf("%s = %s, want %s", name, ref.Parameters[name], want)
		}
	}
}
