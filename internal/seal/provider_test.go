package seal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

func TestOpenProvider(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := seal.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	transit, aws, gcp := newTransitFake(t), newAWSFake(t), newGCPFake(t)
	for _, c := range []seal.Config{
		{Kind: seal.KindKeyFile, KeyFile: path},
		{Kind: seal.KindPassphrase, Passphrase: seal.CredentialValue([]byte("correct horse battery staple"))},
		{Kind: seal.KindTransit, Transit: transit.config("fluxkeep")},
		{Kind: seal.KindAWSKMS, AWSKMS: aws.config(awsKey)},
		{Kind: seal.KindGCPKMS, GCPKMS: gcp.config(gcpKey)},
	} {
		t.Run(c.Kind, func(t *testing.T) {
			p, err := seal.OpenProvider(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			wrapped := mustWrap(t, newKeys(t), p)
			again, err := seal.OpenProvider(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := seal.Load(t.Context(), wrapped, again); err != nil {
				t.Error(err)
			}
			if info, err := seal.Describe(wrapped); err != nil || info.Kind != c.Kind {
				t.Errorf("Describe = %+v, %v", info, err)
			}
		})
	}
}

func TestOpenProviderRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		config seal.Config
		says   string
	}{
		"no kind":          {seal.Config{}, "unknown kind"},
		"unknown kind":     {seal.Config{Kind: "azure"}, `unknown kind "azure"`},
		"no key file":      {seal.Config{Kind: seal.KindKeyFile, KeyFile: filepath.Join(dir, "none")}, "none"},
		"no passphrase":    {seal.Config{Kind: seal.KindPassphrase}, "required"},
		"short passphrase": {seal.Config{Kind: seal.KindPassphrase, Passphrase: seal.CredentialValue([]byte("x"))}, "shorter"},
		"no passphrase file": {seal.Config{Kind: seal.KindPassphrase, Passphrase: seal.CredentialFile(filepath.Join(dir, "none"))},
			"none"},
		"transit without settings": {seal.Config{Kind: seal.KindTransit}, "token is required"},
		"AWS without settings":     {seal.Config{Kind: seal.KindAWSKMS}, "not of the form"},
		"GCP without settings":     {seal.Config{Kind: seal.KindGCPKMS}, "not of the form"},
	} {
		p, err := seal.OpenProvider(t.Context(), c.config)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to contain %q", name, err, c.says)
		}
		if p != nil {
			t.Errorf("%s: the provider is %v, want nil", name, p)
		}
	}
	_, err := seal.OpenProvider(t.Context(), seal.Config{Kind: seal.KindKeyFile, KeyFile: filepath.Join(dir, "none")})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no key file: %v, want fs.ErrNotExist", err)
	}
}

func TestCredentialFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	read := func(content string, mode fs.FileMode) (string, error) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		b, err := seal.CredentialFile(path)(t.Context())
		return string(b), err
	}
	for content, want := range map[string]string{"a b": "a b", "a\n": "a", "a\r\n": "a", " a ": " a ", "a\nb\n": "a\nb"} {
		if got, err := read(content, 0o640); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", content, got, err, want)
		}
	}
	for _, empty := range []string{"", "\n"} {
		if _, err := read(empty, 0o600); err == nil {
			t.Errorf("%q was accepted", empty)
		}
	}
	if _, err := read("marker", 0o644); err == nil || !strings.Contains(err.Error(), "chmod o= "+path) {
		t.Errorf("file for everyone: %v, want it to say what to do", err)
	}
}

// TestCredentialValueIsACopy checks that the caller may clear a credential.
func TestCredentialValueIsACopy(t *testing.T) {
	given := []byte("secret")
	c := seal.CredentialValue(given)
	clear(given)
	for range 2 {
		b, err := c(t.Context())
		if err != nil || string(b) != "secret" {
			t.Errorf("credential = %q, %v", b, err)
		}
		clear(b)
	}
}
